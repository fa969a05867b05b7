import t from 'tap';
import { type Emit, Lifecycle, type LifecycleOptions } from '../../../daemon/lifecycle/lifecycle.js';
import type { Machine } from '../../../daemon/machine/machine.js';

/** A machine that only notes what is asked of it. `whileParking` is what happens to the guest before it stands still. */
class FakeMachine {
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
}

function make(options: Partial<LifecycleOptions> = {}) {
  const machine = new FakeMachine();
  const events: string[] = [];
  const exits: number[] = [];
  const log = { info() {}, error() {}, fatal() {} } as unknown as LifecycleOptions['log'];
  const lifecycle = new Lifecycle(machine as unknown as Machine, {
    noReboot: false,
    noShutdown: false,
    log,
    emit: ((event: string) => events.push(event)) as unknown as Emit,
    exit: (code) => exits.push(code),
    ...options,
  });
  return { machine, events, exits, lifecycle };
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
