import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DaemonProcess } from '../../helpers/daemon.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { makeElf } from '../boot/images.js';

const skip = noKvm();
const DEBUG_EXIT = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'] as const;

/** Code that runs in 32-bit protected mode at 1 MiB, as a PVH kernel; its path. */
function kernel(t: Test, code: readonly number[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-kernel-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'kernel.elf');
  writeFileSync(path, makeElf({ segments: [{ gpa: 0x100000, bytes: Buffer.from(code) }], entry: 0x100000 }));
  return path;
}

/** `mov eax, 0xd0000000; jmp eax`: no memory is there, and no host can fetch an instruction from it. */
const INTO_NOWHERE = [0xb8, 0x00, 0x00, 0x00, 0xd0, 0xff, 0xe0];

/** Waits for a guest that has come up after `from` lines. */
const up = (daemon: TestDaemon, from = 0) => daemon.line(/^FILLED/, { from });

for (const [command, by] of [
  ['x', 'the i8042'],
  ['t', 'a triple fault'],
] as const) {
  t.test(`a reset by ${by} is announced and brings the guest back up`, { skip }, async (t) => {
    const daemon = await TestDaemon.start(t, { guest: 'fill=1 hb=1000' });
    await up(daemon);
    for (let i = 0; i < 3; i++) {
      const from = daemon.lines.length;
      const events = daemon.events.length;
      daemon.type(command);
      const { data } = await daemon.event('RESET', () => true, { from: events });
      t.same(data, { guest: true, reason: 'guest-reset' });
      await daemon.line(/^GUEST-UP/, { from });
      await up(daemon, from);
    }
    t.equal(await daemon.status(), 'running');
    t.same(
      daemon.eventNames().filter((name) => name !== 'RESUME'),
      ['RESET', 'RESET', 'RESET'],
    );
  });
}

t.test('with -no-reboot a reset, by the guest or by a user, ends the daemon with success', { skip }, async (t) => {
  const byGuest = await TestDaemon.start(t, { guest: 'fill=1 hb=1000', more: ['-no-reboot'] });
  await up(byGuest);
  byGuest.type('t');
  t.same((await byGuest.event('SHUTDOWN')).data, { guest: true, reason: 'guest-reset' });
  t.same(await byGuest.exited, { code: 0, signal: null });
  t.equal(byGuest.stderr, '');

  const byUser = await TestDaemon.start(t, { guest: 'fill=1', more: ['-no-reboot', '-S'] });
  await byUser.qmp.execute('system_reset');
  t.same((await byUser.event('SHUTDOWN')).data, { guest: false, reason: 'host-qmp-system-reset' });
  t.same(await byUser.exited, { code: 0, signal: null });
});

t.test(
  'with -no-reboot and -no-shutdown the guest stands still where it reset, until system_reset',
  { skip },
  async (t) => {
    const daemon = await TestDaemon.start(t, { guest: 'fill=1 hb=1000', more: ['-no-reboot', '-no-shutdown'] });
    await up(daemon);
    daemon.type('x');
    await daemon.event('STOP');
    t.equal(await daemon.status(), 'shutdown');
    t.same(daemon.eventNames().slice(-2), ['SHUTDOWN', 'STOP']);
    await t.rejects(daemon.qmp.execute('cont'), { message: 'Resetting the Virtual Machine is required' });
  },
);

t.test('the debug-exit port ends the daemon with the exit code that QEMU gives', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { guest: 'fill=1 hb=1000', more: DEBUG_EXIT });
  await up(daemon);
  daemon.type('q');
  t.same(await daemon.exited, { code: (0x10 << 1) | 1, signal: null });
});

t.test(
  'an instruction that KVM cannot run stops the guest with its details; system_reset and cont start it again',
  { skip },
  async (t) => {
    const path = kernel(t, INTO_NOWHERE);
    const daemon = await TestDaemon.start(t, { more: ['-kernel', path, '-S'] });
    const expectBroken = async (from: number) => {
      await daemon.event('STOP', () => true, { from });
      t.equal(await daemon.status(), 'internal-error');
      t.same(await daemon.qmp.execute('query-status'), {
        status: 'internal-error',
        singlestep: false,
        running: false,
      });
      await t.rejects(daemon.qmp.execute('cont'), {
        class: 'GenericError',
        message: 'Resetting the Virtual Machine is required',
      });
      await daemon.qmp.execute('stop');
      t.equal(await daemon.status(), 'internal-error', 'stop changes nothing');
    };
    await daemon.qmp.execute('cont');
    await expectBroken(0);
    await daemon.qmp.execute('system_reset');
    t.equal(await daemon.status(), 'prelaunch');
    const from = daemon.events.length;
    await daemon.qmp.execute('cont');
    await expectBroken(from);
    t.same(daemon.eventNames(), ['RESUME', 'STOP', 'RESET', 'RESUME', 'STOP']);
  },
);

t.test('the details of an internal error are logged: exit, suberror and where the guest was', { skip }, async (t) => {
  const path = kernel(t, INTO_NOWHERE);
  const daemon = new DaemonProcess(t, ['-kernel', path, '-qmp', 'unix:@/qmp,server=on,wait=off'], {
    VMHOSTD_LOG: 'error',
  });
  const found = await daemon.until('the log', () => /KVM_EXIT_INTERNAL_ERROR[^"]*/.exec(daemon.stderr) ?? undefined);
  t.match(found[0], /suberror 1 \(KVM_INTERNAL_ERROR_EMULATION\).* at rip 0xd0000000 rflags 0x/);
  daemon.child.kill('SIGTERM');
  t.equal(await daemon.exited, 0);
});

t.test('a reset that the guest asks for while a user stops it is done all the same', { skip }, async (t) => {
  // Resets itself by the i8042 as soon as it runs: mov al, 0xfe; out 0x64, al; jmp $
  const path = kernel(t, [0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe]);
  const daemon = await TestDaemon.start(t, { more: ['-kernel', path, '-S'] });
  for (let i = 0; i < 10; i++) {
    const from = daemon.events.length;
    await Promise.all([daemon.qmp.execute('cont'), daemon.event('RESET', () => true, { from })]);
    await daemon.qmp.execute('stop');
    t.match(await daemon.status(), /^(paused|prelaunch)$/);
  }
});
