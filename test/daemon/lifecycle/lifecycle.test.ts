import t from 'tap';
import type { RunActions } from '../../../daemon/lifecycle/actions.js';
import { type Emit, Lifecycle, type LifecycleOptions } from '../../../daemon/lifecycle/lifecycle.js';
import type { RunnableMachine } from '../../../daemon/lifecycle/runnable_machine.js';

/** A machine that only notes what is asked of it. `whileParking` is what happens to the guest before it stands still. */
class FakeMachine implements RunnableMachine {
  readonly calls: string[] = [];
  whileParking: () => void = () => {};

  async run(resumed: boolean): Promise<void> {
    this.calls.push(resumed ? 'resume' : 'run');
  }

  async park(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.whileParking();
    this.calls.push('park');
  }

  async reset(): Promise<void> {
    this.calls.push('reset');
  }

  async wake(): Promise<void> {
    this.calls.push('wake');
  }

  pressPowerButton(): void {
    this.calls.push('power button');
  }

  async injectNmi(): Promise<void> {
    this.calls.push('nmi');
  }
}

function make(options: Partial<LifecycleOptions> = {}) {
  const machine = new FakeMachine();
  const events: string[] = [];
  const exits: number[] = [];
  const said: string[] = [];
  const log = { info() {}, error() {}, fatal() {} } as unknown as LifecycleOptions['log'];
  const lifecycle = new Lifecycle(machine, {
    actions: { reboot: 'reset', shutdown: 'poweroff', panic: 'shutdown', watchdog: 'reset' },
    say: (sentence) => said.push(sentence),
    log,
    emit: ((event: string, data?: { action?: string; reason?: string }) =>
      events.push([event, data?.action].filter(Boolean).join(' '))) as unknown as Emit,
    exit: (code) => exits.push(code),
    ...options,
  });
  return { machine, events, exits, said, lifecycle };
}

t.test('two vCPUs that stop for one reset reset the machine once', async (t) => {
  const { machine, events, lifecycle } = make();
  await lifecycle.start(false);
  lifecycle.guestStop(0, { cause: 'reset', by: 'triple fault' });
  lifecycle.guestStop(1, { cause: 'reset', by: 'triple fault' });
  await lifecycle.stop();
  t.same(events, ['RESUME', 'RESET', 'STOP']);
  t.same(machine.calls, ['reset', 'run', 'park', 'reset', 'run', 'park']);
});

t.test('a reset that comes while a migration parks the guest travels with it', async (t) => {
  const { machine, events, lifecycle } = make();
  await lifecycle.start(false);
  machine.whileParking = () => lifecycle.guestStop(0, { cause: 'reset', by: 'i8042' });
  t.same(await lifecycle.pauseForMigration(), { runState: 'running', pendingReset: true });
  await lifecycle.migrated();
  t.equal(lifecycle.status, 'postmigrate');
  t.same(events, ['RESUME', 'STOP'], 'and is not done here as well');
});

t.test('a reset that comes while a migration parks the guest is done here when the migration fails', async (t) => {
  const { machine, events, lifecycle } = make();
  await lifecycle.start(false);
  machine.whileParking = () => lifecycle.guestStop(0, { cause: 'reset', by: 'i8042' });
  await lifecycle.pauseForMigration();
  machine.whileParking = () => {};
  await lifecycle.migrationFailed();
  t.equal(lifecycle.status, 'running');
  t.same(events, ['RESUME', 'STOP', 'RESUME', 'RESET']);
});

t.test('a guest that breaks while a migration parks it is not migrated, and is seen broken here', async (t) => {
  const { machine, lifecycle } = make();
  await lifecycle.start(false);
  machine.whileParking = () => lifecycle.guestStop(0, { cause: 'internal-error', details: 'x' });
  await t.rejects(lifecycle.pauseForMigration(), { message: 'the guest stopped by itself (internal-error)' });
  machine.whileParking = () => {};
  await lifecycle.migrationFailed();
  t.equal(lifecycle.status, 'internal-error');
});

t.test('a user’s stop before or during the switchover holds when the migration fails', async (t) => {
  const before = make();
  await before.lifecycle.start(false);
  await Promise.all([before.lifecycle.stop(), before.lifecycle.pauseForMigration()]);
  await before.lifecycle.migrationFailed();
  t.equal(before.lifecycle.status, 'paused');

  const during = make();
  await during.lifecycle.start(false);
  await Promise.all([during.lifecycle.pauseForMigration(), during.lifecycle.stop()]);
  await during.lifecycle.migrationFailed();
  t.equal(during.lifecycle.status, 'paused');
});

t.test(
  'while a migration holds the guest it is neither continued nor reset; after an unknown end only cont runs it',
  async (t) => {
    const { lifecycle, events } = make();
    await lifecycle.start(false);
    await lifecycle.pauseForMigration();
    await t.rejects(lifecycle.cont(), { message: 'Migration is not finalized yet' });
    await t.rejects(lifecycle.systemReset(), { message: 'Migration is not finalized yet' });
    lifecycle.guestStop(0, { cause: 'reset', by: 'i8042' });
    await lifecycle.migrationOutcomeUnknown();
    t.equal(lifecycle.status, 'paused');
    t.same(events, ['RESUME', 'STOP']);
    await lifecycle.cont();
    t.same(events, ['RESUME', 'STOP', 'RESUME', 'RESET'], 'and what the guest asked for then is done');
  },
);

t.test('a guest that arrives with a reset pending is reset, whether it shall run or not', async (t) => {
  for (const paused of [false, true]) {
    const { lifecycle, events } = make();
    lifecycle.awaitMigration(paused);
    await lifecycle.arrived('running', true);
    t.equal(lifecycle.status, paused ? 'prelaunch' : 'running');
    t.same(events, paused ? ['RESET'] : ['RESUME', 'RESET']);
  }
});

t.test('a guest that stops by itself in a stopped state is dealt with as QEMU does', async (t) => {
  const { lifecycle, events, exits } = make();
  await lifecycle.start(false);
  await lifecycle.stop();
  lifecycle.guestStop(0, { cause: 'reset', by: 'i8042' });
  await lifecycle.stop();
  t.equal(lifecycle.status, 'prelaunch');
  lifecycle.guestStop(0, { cause: 'shutdown', by: 'x' });
  await lifecycle.stop();
  t.same(events, ['RESUME', 'STOP', 'RESET', 'SHUTDOWN']);
  t.same(exits, [0]);
});

t.test('a kernel that cannot be loaded again leaves an internal error, not a guest without code', async (t) => {
  let loads = 0;
  const { lifecycle, events } = make({
    loadKernel: () => {
      if (loads++ > 0) throw new Error('gone');
      return { regs: {}, sregs: {} };
    },
  });
  await lifecycle.start(false);
  await lifecycle.systemReset();
  t.equal(lifecycle.status, 'internal-error');
  t.same(events, ['RESUME', 'RESET', 'STOP']);
  await t.rejects(lifecycle.cont(), { message: 'Resetting the Virtual Machine is required' });
});

/** Resolves when everything asked for so far is done: an operation that changes nothing comes after it. */
const settled = (lifecycle: Lifecycle) => lifecycle.migrationFailed();

/** What a guest's panic leads to: events, state and exit codes. */
async function panics(actions: Partial<RunActions>) {
  const made = make();
  await made.lifecycle.start(false);
  made.lifecycle.setActions(actions);
  made.lifecycle.guestStop(0, { cause: 'panicked' });
  await settled(made.lifecycle);
  return { events: made.events.slice(1), status: made.lifecycle.status, exits: made.exits, calls: made.machine.calls };
}

t.test('a panic pauses, shuts down, fails or is passed over, as the actions say', async (t) => {
  t.match(await panics({ panic: 'pause' }), {
    events: ['GUEST_PANICKED pause', 'STOP'],
    status: 'guest-panicked',
    exits: [],
  });
  t.match(await panics({}), { events: ['GUEST_PANICKED poweroff', 'SHUTDOWN'], exits: [0] });
  t.match(await panics({ shutdown: 'pause' }), { events: ['GUEST_PANICKED pause', 'STOP'], status: 'guest-panicked' });
  t.match(await panics({ panic: 'exit-failure' }), { events: ['GUEST_PANICKED poweroff', 'SHUTDOWN'], exits: [1] });
  t.match(await panics({ panic: 'exit-failure', shutdown: 'pause' }), {
    events: ['GUEST_PANICKED poweroff', 'SHUTDOWN', 'STOP'],
    status: 'shutdown',
    exits: [],
  });
  const none = await panics({ panic: 'none' });
  t.match(none, { events: ['GUEST_PANICKED run'], status: 'running', exits: [] });
  t.same(none.calls, ['reset', 'run', 'run'], 'the vCPU that reported it runs again');
});

t.test('a guest that writes a dump of itself runs on', async (t) => {
  const { lifecycle, events, machine } = make();
  await lifecycle.start(false);
  lifecycle.guestStop(0, { cause: 'crash-loaded' });
  await settled(lifecycle);
  t.same(events, ['RESUME', 'GUEST_CRASHLOADED run']);
  t.same(machine.calls, ['reset', 'run', 'run']);
});

t.test('a watchdog that expires does what its action says', async (t) => {
  const expire = async (watchdog: RunActions['watchdog'], more: Partial<RunActions> = {}) => {
    const made = make();
    await made.lifecycle.start(false);
    made.lifecycle.setActions({ watchdog, ...more });
    made.lifecycle.watchdogExpired();
    await settled(made.lifecycle);
    const { events, exits, said, machine, lifecycle } = made;
    return { events: events.slice(1), exits, said, calls: machine.calls.slice(2), status: lifecycle.status };
  };
  const quiet = { exits: [], said: [], calls: [], status: 'running' };
  t.same(await expire('none'), { ...quiet, events: ['WATCHDOG none'] });
  t.same(await expire('debug'), { ...quiet, events: ['WATCHDOG debug'], said: ['watchdog: timer fired'] });
  t.same(await expire('inject-nmi'), { ...quiet, events: ['WATCHDOG inject-nmi'], calls: ['nmi'] });
  t.same(await expire('shutdown'), { ...quiet, events: ['WATCHDOG shutdown', 'POWERDOWN'], calls: ['power button'] });
  t.same(await expire('poweroff'), { ...quiet, events: ['WATCHDOG poweroff'], exits: [0] });
  t.same(await expire('reset'), { ...quiet, events: ['WATCHDOG reset', 'RESET'], calls: ['park', 'reset', 'run'] });
  t.same(await expire('reset', { reboot: 'shutdown' }), {
    ...quiet,
    events: ['WATCHDOG reset', 'SHUTDOWN'],
    exits: [0],
  });
  t.same(await expire('pause'), { ...quiet, events: ['WATCHDOG pause', 'STOP'], calls: ['park'], status: 'watchdog' });
});

t.test('a shutdown that only pauses leaves a guest that is stopped already as it is', async (t) => {
  const { lifecycle, events } = make();
  await lifecycle.start(true);
  lifecycle.setActions({ reboot: 'shutdown', shutdown: 'pause' });
  await lifecycle.systemReset();
  t.equal(lifecycle.status, 'prelaunch');
  t.same(events, ['SHUTDOWN']);
});

t.test('a guest arrives in the state in which it was stopped', async (t) => {
  for (const state of ['paused', 'prelaunch', 'shutdown', 'guest-panicked', 'watchdog'] as const) {
    const { lifecycle, events } = make();
    lifecycle.awaitMigration(false);
    await lifecycle.arrived(state, false);
    t.equal(lifecycle.status, state);
    t.same(events, []);
  }
});

t.test('a guest that sleeps is woken, not continued; a migration wakes it', async (t) => {
  const { lifecycle, events, machine } = make();
  const sleep = async () => {
    lifecycle.guestStop(0, { cause: 'sleep', state: 'S3' });
    await settled(lifecycle);
    t.equal(lifecycle.status, 'suspended');
  };
  await lifecycle.start(false);
  await t.rejects(lifecycle.wakeup(), { message: 'Unable to wake up: guest is not in suspended state' });
  await sleep();
  await lifecycle.stop();
  await lifecycle.cont();
  t.equal(lifecycle.status, 'suspended');
  await lifecycle.wakeup();
  t.equal(lifecycle.status, 'running');
  await sleep();
  t.same(await lifecycle.pauseForMigration(), { runState: 'running', pendingReset: false });
  await lifecycle.migrationFailed();
  t.equal(lifecycle.status, 'running');
  t.same(events, ['RESUME', 'SUSPEND', 'WAKEUP', 'SUSPEND', 'STOP', 'WAKEUP', 'RESUME']);
  t.same(machine.calls, ['reset', 'run', 'park', 'wake', 'run', 'park', 'wake', 'park', 'resume']);
});

t.test('a guest that suspends itself to disk is shut down', async (t) => {
  const { lifecycle, events, exits } = make();
  await lifecycle.start(false);
  lifecycle.guestStop(0, { cause: 'sleep', state: 'S4' });
  await settled(lifecycle);
  t.same(events, ['RESUME', 'SUSPEND_DISK', 'SHUTDOWN']);
  t.same(exits, [0]);
});

t.test('what the guest still does when the daemon ends is not dealt with', async (t) => {
  const { lifecycle, events, exits } = make();
  await lifecycle.start(false);
  lifecycle.guestStop(0, { cause: 'reset', by: 'i8042' });
  await lifecycle.close();
  lifecycle.guestStop(0, { cause: 'shutdown', by: 'x' });
  lifecycle.watchdogExpired();
  await settled(lifecycle);
  t.same([events, exits], [['RESUME'], []]);
});
