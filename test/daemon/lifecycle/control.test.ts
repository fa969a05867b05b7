import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { QmpClient } from '../../../client/qmp_client.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';

const skip = noKvm();
const run = promisify(execFile);

function noSocat(): string | false {
  if (skip) return skip;
  try {
    execFileSync('socat', ['-V'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'socat is not installed';
  }
}

t.test('-S waits in prelaunch; cont, stop and cont go back and forth, each announced once', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { guest: 'fill=1 hb=20', more: ['-S'] });
  t.same(await daemon.qmp.execute('query-status'), { status: 'prelaunch', singlestep: false, running: false });
  t.same(daemon.lines, [], 'nothing has run');
  await daemon.qmp.execute('cont');
  await daemon.line(/^HB 2 /);
  await daemon.qmp.execute('cont');
  await daemon.qmp.execute('stop');
  await daemon.qmp.execute('stop');
  t.equal(await daemon.status(), 'paused');
  const printed = daemon.lines.length;
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.ok(daemon.lines.length <= printed + 1, 'a stopped guest prints nothing more');
  await daemon.qmp.execute('cont');
  await daemon.nextLine(/^HB /);
  t.equal(await daemon.status(), 'running');
  t.same(daemon.eventNames(), ['RESUME', 'STOP', 'RESUME']);
});

t.test(
  'system_reset of a running guest boots it again; of a stopped one leaves it in prelaunch',
  { skip },
  async (t) => {
    const daemon = await TestDaemon.start(t, { guest: 'fill=1 hb=20' });
    await daemon.line(/^HB 1 /);
    let from = daemon.lines.length;
    await daemon.qmp.execute('system_reset');
    t.same(daemon.events.at(-1)?.data, { guest: false, reason: 'host-qmp-system-reset' });
    await daemon.line(/^GUEST-UP/, { from });
    await daemon.line(/^HB 1 /, { from });
    await daemon.qmp.execute('stop');
    await daemon.qmp.execute('system_reset');
    t.equal(await daemon.status(), 'prelaunch');
    from = daemon.lines.length;
    await daemon.qmp.execute('cont');
    await daemon.line(/^GUEST-UP/, { from });
  },
);

t.test(
  'SIGTERM and SIGINT end the daemon with success and announce it; socket and pid file are gone',
  { skip },
  async (t) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const daemon = await TestDaemon.start(t, { guest: 'fill=1 ws=1 rate=max' });
      await daemon.line(/^FILLED/);
      daemon.kill(signal);
      t.same((await daemon.event('SHUTDOWN')).data, { guest: false, reason: 'host-signal' });
      t.same(await daemon.exited, { code: 0, signal: null }, signal);
      t.equal(daemon.stderr, '');
      t.notOk(existsSync(join(daemon.dir, 'qmp')));
      t.notOk(existsSync(join(daemon.dir, 'pid')));
    }
  },
);

t.test(
  'quit is announced, answered, and ends the daemon with success, also when the guest never ran',
  { skip },
  async (t) => {
    for (const more of [[], ['-S']]) {
      const daemon = await TestDaemon.start(t, { guest: 'fill=1 ws=1 rate=max', more });
      t.same(await daemon.qmp.execute('quit'), {});
      t.same(daemon.events.at(-1)?.data, { guest: false, reason: 'host-qmp-quit' });
      t.same(await daemon.exited, { code: 0, signal: null });
    }
  },
);

t.test('every client hears of what any one of them does', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { guest: 'fill=1', more: ['-S'] });
  const others = await Promise.all([1, 2, 3].map(() => QmpClient.connect(`unix:${join(daemon.dir, 'qmp')}`)));
  const [first, second, third] = others as [QmpClient, QmpClient, QmpClient];
  const resumed = Promise.all(others.map((client) => client.waitFor('RESUME', undefined, { timeoutMs: 10_000 })));
  await first.execute('cont');
  await resumed;
  const stopped = Promise.all(others.map((client) => client.waitFor('STOP', undefined, { timeoutMs: 10_000 })));
  await second.execute('stop');
  await stopped;
  t.equal((await third.execute('query-status')).status, 'paused');
  await third.close();
  t.equal((await first.execute('query-status')).status, 'paused', 'and none is missed when it leaves');
  await Promise.all([first.close(), second.close()]);
});

t.test('two vCPUs are listed with their own indexes and thread ids', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { guest: 'fill=1', more: ['-smp', '2'] });
  const cpus = await daemon.qmp.execute('query-cpus-fast');
  t.same(
    cpus.map((cpu) => Number(cpu['cpu-index'])),
    [0, 1],
  );
  t.equal(new Set(cpus.map((cpu) => cpu['thread-id'])).size, 2);
  for (const cpu of cpus) t.ok(existsSync(`/proc/${daemon.pid}/task/${cpu['thread-id']}`), 'a thread of the daemon');
});

t.test('one line of socat is answered as QEMU answers it', { skip: noSocat() }, async (t) => {
  const daemon = await TestDaemon.start(t, { guest: 'fill=1' });
  const socket = join(daemon.dir, 'qmp');
  const { stdout } = await run('sh', [
    '-c',
    `echo '{"execute":"qmp_capabilities"}{"execute":"query-status"}' | socat - UNIX-CONNECT:${socket}`,
  ]);
  const [greeting, ...replies] = stdout.split('\r\n');
  t.match(
    greeting,
    /^\{"QMP": \{"version": \{"qemu": \{"micro": \d+, "minor": \d+, "major": \d+\}, "package": "[^"]*"\}, "capabilities": \[.*\]\}\}$/,
  );
  t.same(replies, ['{"return": {}}', '{"return": {"status": "running", "singlestep": false, "running": true}}', '']);
});
