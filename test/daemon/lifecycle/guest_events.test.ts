import t, { type Test } from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { outb, romFile } from '../../helpers/rom.js';

const skip = noKvm();

const PANIC = outb(0x505, 1);
const CRASH_LOADED = outb(0x505, 2);
/** Two seconds. */
const START_WATCHDOG = outb(0x443, 14);
/** `mov $0x604, %dx; mov $0x2000, %ax; out %ax, %dx` */
const SOFT_OFF = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef];

/** A daemon whose guest runs `code` once a user says `cont`. */
function guest(t: Test, code: readonly number[], ...more: string[]): Promise<TestDaemon> {
  return TestDaemon.start(t, { more: ['-S', '-bios', romFile(t, code), ...more] });
}

/** Events as `NAME` or `NAME datum`. */
const seen = (daemon: TestDaemon) =>
  daemon.events.map(({ event, data }) => [event, ...Object.values(data ?? {})].join(' '));

t.test('a guest that panics is stopped, and goes on where a user says so', { skip }, async (t) => {
  const daemon = await guest(t, PANIC, '-device', 'pvpanic', '-action', 'panic=pause');
  await daemon.qmp.execute('cont');
  await daemon.event('STOP');
  t.equal(await daemon.status(), 'guest-panicked');
  await daemon.qmp.execute('cont');
  t.equal(await daemon.status(), 'running');
  t.same(seen(daemon), ['RESUME', 'GUEST_PANICKED pause', 'STOP', 'RESUME']);
});

t.test('a panic ends the daemon with the exit code that the action says', { skip }, async (t) => {
  for (const [action, code] of [
    ['shutdown', 0],
    ['exit-failure', 1],
  ] as const) {
    const daemon = await guest(t, PANIC, '-device', 'pvpanic');
    await daemon.qmp.execute('set-action', { panic: action });
    await daemon.qmp.execute('cont');
    t.same(await daemon.exited, { code, signal: null });
    t.same(seen(daemon), ['RESUME', 'GUEST_PANICKED poweroff', 'SHUTDOWN true guest-panic']);
  }
});

t.test('a guest whose panic is passed over, or that dumps itself, runs on', { skip }, async (t) => {
  const code = [...CRASH_LOADED, ...PANIC, ...SOFT_OFF];
  const daemon = await guest(t, code, '-device', 'pvpanic', '-action', 'panic=none,shutdown=pause');
  await daemon.qmp.execute('cont');
  await daemon.event('STOP');
  t.same(seen(daemon), [
    'RESUME',
    'GUEST_CRASHLOADED run',
    'GUEST_PANICKED run',
    'SHUTDOWN true guest-shutdown',
    'STOP',
  ]);
});

t.test('a guest that switches itself off ends the daemon, or is shut down until a reset', { skip }, async (t) => {
  const ends = await guest(t, SOFT_OFF);
  await ends.qmp.execute('cont');
  t.same(await ends.exited, { code: 0, signal: null });
  t.same(seen(ends), ['RESUME', 'SHUTDOWN true guest-shutdown']);

  const stays = await guest(t, SOFT_OFF, '-no-shutdown');
  await stays.qmp.execute('cont');
  await stays.event('STOP');
  t.equal(await stays.status(), 'shutdown');
  await stays.qmp.execute('stop');
  t.equal(await stays.status(), 'shutdown');
  await t.rejects(stays.qmp.execute('cont'), { message: 'Resetting the Virtual Machine is required' });
  const { daemon: destination, uri } = await TestDaemon.destination(t, {
    more: ['-bios', romFile(t, SOFT_OFF)],
  });
  await stays.qmp.execute('migrate', { uri });
  await destination.event('MIGRATION', ({ data }) => data.status === 'completed');
  t.equal(await destination.status(), 'shutdown', 'as it is where it migrates to');
  await destination.qmp.execute('system_reset');
  t.equal(await destination.status(), 'prelaunch');
});

t.test('a watchdog counts while the guest runs, and goes on counting after a migration', { skip }, async (t) => {
  const machine = ['-device', 'ib700', '-action', 'watchdog=pause'];
  const rom = romFile(t, START_WATCHDOG);
  const daemon = await TestDaemon.start(t, { more: ['-S', '-bios', rom, ...machine] });
  await daemon.qmp.execute('cont');
  const started = performance.now();
  await daemon.qmp.execute('stop');
  await new Promise((resolve) => setTimeout(resolve, 2500)); // the timer's time, and more
  t.equal(await daemon.status(), 'paused', 'a stopped guest has no time');
  const { daemon: destination, uri } = await TestDaemon.destination(t, { more: ['-bios', rom, ...machine] });
  await daemon.qmp.execute('migrate', { uri });
  await destination.event('MIGRATION', ({ data }) => data.status === 'completed');
  t.same(seen(destination), ['MIGRATION setup', 'MIGRATION active', 'MIGRATION completed']);
  await destination.qmp.execute('cont');
  await destination.event('STOP');
  t.ok(performance.now() - started > 4000);
  t.equal(await destination.status(), 'watchdog');
  t.same(seen(destination).slice(-3), ['RESUME', 'WATCHDOG pause', 'STOP']);
  await destination.qmp.execute('watchdog-set-action', { action: 'reset' });
  await destination.qmp.execute('cont');
  t.equal(await destination.status(), 'running', 'and it is off once it expired');
});

t.test('a guest that polls the power button hears of it', { skip }, async (t) => {
  const code = [
    ...[0xba, 0x02, 0x06, 0xb8, 0x00, 0x01, 0xef], // mov $0x602, %dx; mov $0x100, %ax; out %ax, %dx
    ...outb(0x505, 2), // says that it is ready
    ...[0xba, 0x00, 0x06], // mov $0x600, %dx
    ...[0xed, 0xf6, 0xc4, 0x01, 0x74, 0xfa], // 1: in %dx, %ax; test $1, %ah; jz 1b
    ...SOFT_OFF,
  ];
  const daemon = await guest(t, code, '-device', 'pvpanic');
  await daemon.qmp.execute('cont');
  await daemon.event('GUEST_CRASHLOADED');
  await daemon.qmp.execute('system_powerdown');
  t.same(await daemon.exited, { code: 0, signal: null });
  t.same(seen(daemon).slice(-2), ['POWERDOWN', 'SHUTDOWN true guest-shutdown']);
});

t.test('a guest that sets its clock is heard, with the path that QEMU gives the clock', { skip }, async (t) => {
  // The century: 0x30, in 7 decades or so.
  const daemon = await guest(t, [...outb(0x70, 0x32), ...outb(0x71, 0x30)], '-smp', '2');
  await daemon.qmp.execute('cont');
  const { data } = await daemon.event('RTC_CHANGE');
  t.equal(data['qom-path'], '/machine/unattached/device[11]');
  const years = (3000 + (new Date().getUTCFullYear() % 100) - new Date().getUTCFullYear()) * 365.2425;
  t.ok(Math.abs(Number(data.offset) / 86400 - years) < 3, `${data.offset} seconds`);
});

t.test('the power button is pressed in any state; no guest can be woken', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { incoming: 'defer' });
  await daemon.qmp.execute('system_powerdown');
  t.same(seen(daemon), ['POWERDOWN']);
  await t.rejects(daemon.qmp.execute('system_wakeup'), {
    class: 'GenericError',
    message: 'Unable to wake up: guest is not in suspended state',
  });
});

t.test(
  'a guest that writes its devices’ ports without end does not keep the daemon from answering',
  { skip },
  async (t) => {
    const code = [
      ...outb(0x70, 0x00),
      ...outb(0x443, 0),
      ...[0xba, 0x71, 0x00, 0xee], // mov $0x71, %dx; out %al, %dx
      ...[0xeb, 0xee], // back to the start
    ];
    const daemon = await guest(t, code, '-device', 'ib700');
    await daemon.qmp.execute('cont');
    await daemon.event('RTC_CHANGE');
    const before = performance.now();
    for (let i = 0; i < 50; i++) await daemon.qmp.execute('query-status');
    t.ok((performance.now() - before) / 50 < 50, 'a command takes less than 50 ms');
  },
);

t.test('a guest that suspends itself to memory is woken in its firmware, its memory kept', { skip }, async (t) => {
  const code = [
    ...[0x31, 0xc0, 0x8e, 0xd8], // xor %ax, %ax; mov %ax, %ds
    ...[0xa0, 0x00, 0x05, 0xfe, 0x06, 0x00, 0x05], // mov 0x500, %al; incb 0x500
    ...[0x84, 0xc0, 0x75, 0x07], // test %al, %al; jnz to soft-off, the second time
    ...[0xba, 0x04, 0x06, 0xb8, 0x00, 0x24, 0xef], // SLP_EN with the type of S3
    ...SOFT_OFF,
  ];
  const daemon = await guest(t, code);
  await daemon.qmp.execute('cont');
  await daemon.event('SUSPEND');
  t.equal(await daemon.status(), 'suspended');
  await daemon.qmp.execute('cont');
  t.equal(await daemon.status(), 'suspended');
  await daemon.qmp.execute('system_wakeup');
  t.same(await daemon.exited, { code: 0, signal: null });
  t.same(seen(daemon), ['RESUME', 'SUSPEND', 'WAKEUP', 'SHUTDOWN true guest-shutdown']);
});

t.test('a guest that resets itself without end is stopped, and ended, like any other', { skip }, async (t) => {
  const daemon = await guest(t, [0xb0, 0xfe, 0xe6, 0x64]); // mov $0xfe, %al; out %al, $0x64
  await daemon.qmp.execute('cont');
  await daemon.event('RESET');
  await daemon.qmp.execute('stop');
  t.match(await daemon.status(), /^(paused|prelaunch)$/);
  await daemon.qmp.execute('cont');
  await daemon.qmp.execute('quit');
  t.same(await daemon.exited, { code: 0, signal: null });
  t.equal(daemon.stderr, '');
});
