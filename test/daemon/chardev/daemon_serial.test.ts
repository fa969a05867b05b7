import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { DaemonProcess, guestArgs } from '../../helpers/daemon.js';
import { noKvm } from '../../helpers/kvm.js';
import { makeElf } from '../boot/images.js';

const skip = noKvm();

t.test('-serial file: holds the guest’s lines, -pidfile the process id while it runs', { skip }, async (t) => {
  const daemon = new DaemonProcess(t, guestArgs('fill=1 hb=20'));
  await daemon.serial(/^GUEST-UP ram=64 fill=1 .*HB 2 /s);
  t.equal(readFileSync(daemon.path('pid'), 'utf8'), `${daemon.child.pid}\n`);
  const qmp = await daemon.qmp();
  await qmp.execute('quit');
  t.equal(await daemon.exited, 0);
  t.notOk(existsSync(daemon.path('pid')));
  t.notOk(existsSync(daemon.path('qmp')));
});

t.test('-serial stdio carries both ways', { skip }, async (t) => {
  const daemon = new DaemonProcess(t, guestArgs('fill=1 hb=20', '-serial', 'stdio'));
  daemon.readStdout();
  await daemon.until('the guest', () => daemon.stdout.includes('HB 1 ') || undefined);
  daemon.child.stdin?.write('v');
  await daemon.until('the answer', () => daemon.stdout.includes('VERIFY ok') || undefined);
  daemon.child.kill('SIGTERM');
  t.equal(await daemon.exited, 0);
});

for (const kind of ['stdio', 'unix:@/serial.sock,server=on,wait=off'] as const) {
  t.test(
    `a reader of -serial ${kind.split(':')[0]} that does not read holds back the serial port and nothing else`,
    { skip },
    async (t) => {
      // mov edx, 0x3f8; mov al, 'x'; out dx, al; jmp to the out: more than pipe and ring hold within a second.
      const code = Buffer.from([0xba, 0xf8, 0x03, 0, 0, 0xb0, 0x78, 0xee, 0xeb, 0xfd]);
      const kernel = join(mkdtempSync(join(tmpdir(), 'vmhostd-kernel-')), 'kernel.elf');
      t.teardown(() => rmSync(dirname(kernel), { recursive: true }));
      writeFileSync(kernel, makeElf({ segments: [{ gpa: 0x100000, bytes: code }], entry: 0x100000 }));
      const daemon = new DaemonProcess(t, guestArgs('', '-serial', kind, '-kernel', kernel));
      const qmp = await daemon.qmp();
      const reader = kind === 'stdio' ? undefined : connect(daemon.path('serial.sock'));
      reader?.pause();
      for (let i = 0; i < 20; i++) {
        const from = Date.now();
        t.equal((await qmp.execute('query-status')).status, 'running');
        const ms = Date.now() - from;
        if (ms > 1000) t.fail(`query-status took ${ms} ms`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await qmp.execute('stop');
      const from = Date.now();
      await qmp.execute('quit');
      t.equal(await daemon.exited.catch(() => -1), 0);
      t.ok(Date.now() - from < 5000, 'and it ends although nobody takes its last words');
      reader?.destroy();
      if (reader && !reader.closed) await once(reader, 'close');
    },
  );
}

t.test('a command line that is refused is one sentence and exit code 1', async (t) => {
  for (const [args, text] of [
    [['-vnc', ':0'], "vmhostd: -vnc: invalid option; see 'vmhostd --help'\n"],
    [['-m', '0'], "vmhostd: -m: '0' is no size of memory: whole MiB, from 1M to 4T; see 'vmhostd --help'\n"],
  ] as const) {
    const daemon = new DaemonProcess(t, args);
    t.equal(await daemon.exited, 1);
    t.equal(daemon.stderr, text);
  }
});

t.test(
  'a kernel or a socket that cannot be had is one sentence that names it, and exit code 1',
  { skip },
  async (t) => {
    for (const [args, text] of [
      [['-kernel', '@/none'], /^vmhostd: .*none.*\n$/],
      [
        ['-qmp', 'unix:/nonexistent/q,server=on,wait=off', '-S'],
        /^vmhostd: Failed to bind socket to \/nonexistent\/q: .*\n$/,
      ],
      [['-serial', 'file:/nonexistent/f'], /^vmhostd: .*\/nonexistent\/f.*\n$/],
    ] as const) {
      const daemon = new DaemonProcess(t, args);
      t.equal(await daemon.exited, 1);
      t.match(daemon.stderr, text);
    }
  },
);
