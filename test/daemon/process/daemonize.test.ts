/** `-daemonize` and `-pidfile`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { QmpClient } from '../../../client/qmp_client.js';
import { listenOn } from '../../../kvm/sockets.js';
import { eventually, MACHINE_NONE, VMHOSTD } from '../../helpers/daemon.js';
import { socketPath } from '../qmp/socket_path.js';

const PROBE = ['-S', '-no-user-config', '-nodefaults', '-nographic', '-machine', 'none,accel=kvm:tcg'];

/** Runs a command line to the end of the process that was started. */
async function run(args: readonly string[], { cwd, fds = [] }: { cwd?: string; fds?: readonly number[] } = {}) {
  const child = spawn(process.execPath, [VMHOSTD, ...args], { stdio: ['ignore', 'pipe', 'pipe', ...fds], cwd });
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  await once(child, 'close');
  return { code: child.exitCode, stderr };
}

/** Ends the process that a pidfile names, and waits until it is gone. */
async function end(pidfile: string, signal: NodeJS.Signals): Promise<number> {
  const pid = Number(readFileSync(pidfile, 'utf8'));
  process.kill(pid, signal);
  await eventually(dirname(pidfile), 'the end of the daemon', () => (existsSync(`/proc/${pid}`) ? undefined : true));
  return pid;
}

function killLater(t: Test, pidfile: string): void {
  t.teardown(() => {
    if (existsSync(pidfile)) process.kill(Number(readFileSync(pidfile, 'utf8')), 'SIGKILL');
  });
}

t.test(
  'libvirt’s probe: 0 once the socket listens and the pidfile is written; SIGTERM ends it and leaves nothing',
  async (t) => {
    const path = socketPath(t);
    const dir = dirname(path);
    const pidfile = join(dir, 'pid');
    killLater(t, pidfile);
    const args = [...PROBE, '-qmp', 'unix:qmp.sock,server=on,wait=off', '-pidfile', 'pid', '-daemonize'];
    t.same(await run(args, { cwd: dir }), { code: 0, stderr: '' });
    const pid = Number(readFileSync(pidfile, 'utf8'));
    t.equal(readlinkSync(`/proc/${pid}/cwd`), '/');
    for (const fd of [0, 1, 2]) t.equal(readlinkSync(`/proc/${pid}/fd/${fd}`), '/dev/null');
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    t.same([Number(stat[3]), stat[4]], [pid, '0'], 'a session of its own, without a terminal');
    const qmp = await QmpClient.connect(`unix:${path}`);
    t.same(await qmp.execute('query-status'), { status: 'prelaunch', singlestep: false, running: false });
    const ended = once(qmp, 'event');
    await end(pidfile, 'SIGTERM');
    t.match(await ended, [{ event: 'SHUTDOWN', data: { guest: false, reason: 'host-signal' } }]);
    t.same([path, pidfile].map(existsSync), [false, false], 'relative paths are still known');
  },
);

t.test('a start that fails is told by the process that was started', async (t) => {
  t.same(await run([...PROBE, '-qmp', 'unix:/nonexistent/q,server=on,wait=off', '-daemonize']), {
    code: 1,
    stderr: 'vmhostd: Failed to bind socket to /nonexistent/q: No such file or directory\n',
  });
  t.match(await run([...PROBE, '-vnc', ':0', '-daemonize']), { code: 1, stderr: /^vmhostd: -vnc: invalid option/ });
});

t.test('an inherited socket keeps its number in the background', async (t) => {
  const path = socketPath(t);
  const pidfile = join(dirname(path), 'pid');
  killLater(t, pidfile);
  const { fd } = listenOn({ kind: 'unix', path });
  const monitor = ['-chardev', 'socket,id=m,fd=5,server=on,wait=off', '-mon', 'chardev=m,mode=control'];
  t.same(await run([...PROBE, ...monitor, '-pidfile', pidfile, '-daemonize'], { fds: [fd, fd, fd] }), {
    code: 0,
    stderr: '',
  });
  closeSync(fd);
  const qmp = await QmpClient.connect(`unix:${path}`);
  t.match(await qmp.execute('query-chardev'), [{ label: 'm', filename: `unix:${path},server=on` }]);
  await qmp.execute('quit');
});

t.test('a pidfile belongs to one daemon while it lives, and to the next when it was killed', async (t) => {
  const path = socketPath(t);
  const pidfile = join(dirname(path), 'pid');
  killLater(t, pidfile);
  const args = (name: string) => [
    ...MACHINE_NONE,
    ...['-qmp', `unix:${path}${name},server=on,wait=off`, '-pidfile', pidfile, '-daemonize'],
  ];
  writeFileSync(pidfile, 'a stale one, longer than a number\n');
  t.same(await run(args('1')), { code: 0, stderr: '' });
  t.match(readFileSync(pidfile, 'utf8'), /^\d+\n$/);
  t.same(await run(args('2')), {
    code: 1,
    stderr: `vmhostd: cannot create PID file: Cannot lock pid file ${pidfile}: Resource temporarily unavailable\n`,
  });
  t.notOk(existsSync(`${path}2`));
  const first = await end(pidfile, 'SIGKILL');
  t.ok(existsSync(pidfile));
  t.same(await run(args('1')), { code: 0, stderr: '' }, 'the socket that is left over is replaced too');
  t.not(Number(readFileSync(pidfile, 'utf8')), first);
  await end(pidfile, 'SIGINT');
  t.notOk(existsSync(pidfile));
  t.match(await run([...MACHINE_NONE, '-pidfile', '/nonexistent/p']), {
    code: 1,
    stderr: `vmhostd: cannot create PID file: Could not create '/nonexistent/p': No such file or directory\n`,
  });
});

t.test('-msg puts the time, and the guest’s name, before what is said', async (t) => {
  const args = [...MACHINE_NONE, '-qmp', 'unix:/nonexistent/q,server=on', '-name', 'vm1'];
  t.match(
    (await run([...args, '-msg', 'timestamp=on'])).stderr,
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z vmhostd: Failed/,
  );
  t.match((await run([...args, '-msg', 'guest-name=on'])).stderr, /^vm1 vmhostd: Failed/);
});
