import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { QmpClient, QmpError, QmpTimeoutError } from '../../client/qmp_client.js';
import { vmhostctl } from '../daemon/ctl/ctl_process.js';
import { socketPath } from '../daemon/qmp/socket_path.js';

const QEMU = 'qemu-system-x86_64';
const skip = spawnSync(QEMU, ['--version']).status === 0 ? false : `${QEMU} is not installed`;

t.test('the client and vmhostctl speak with QEMU as with the daemon', { skip }, async (t) => {
  const path = socketPath(t);
  const pidfile = `${path}.pid`;
  const qmp = ['-qmp', `unix:${path},server=on,wait=off`];
  const args = ['-machine', 'none', '-nodefaults', '-display', 'none', ...qmp, '-pidfile', pidfile, '-daemonize'];
  // It returns when it listens.
  t.equal(spawnSync(QEMU, args, { stdio: 'inherit' }).status, 0);
  const pid = Number(readFileSync(pidfile, 'utf8'));
  t.teardown(() => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has quit, as it should.
    }
  });
  const client = await QmpClient.connect(path, { oob: true });
  t.match(client.version, { qemu: { major: 7 } });
  const stopped = once(client, 'STOP');
  await client.execute('stop');
  await stopped;
  t.match(await client.execute('query-status'), { running: false });
  t.type(await client.executeRaw('query-yank', undefined, { oob: true }), Array);
  t.ok(((await client.executeRaw('query-qmp-schema')) as object[]).length > 1000, 'an answer of 200 KB');
  await client.execute('migrate-set-parameters', { 'max-bandwidth': 9223372036853727232n });
  t.match(await client.execute('query-migrate-parameters'), { 'max-bandwidth': 9223372036853727232n });
  const refusal = await client.executeRaw('device_del', { id: 'nope' }).catch((error: unknown) => error);
  t.ok(refusal instanceof QmpError);
  t.match(refusal, { class: 'DeviceNotFound', desc: "Device 'nope' not found" });
  // QEMU lets a second client wait for the end of the first.
  await t.rejects(QmpClient.connect(path, { timeoutMs: 100 }), QmpTimeoutError);
  await client.close();

  t.match(await vmhostctl('-s', path, '-c', 'qom-list', '/machine'), { code: 0, stdout: /^\[\{/ });
  t.match(await vmhostctl('-s', path, 'human-monitor-command', 'info status'), {
    code: 0,
    stdout: /VM status: paused/,
  });
  t.match(await vmhostctl('-s', path, 'migrate', 'unix:/nonexistent/x', '--wait'), { code: 1, stderr: /No such file/ });
  t.match(await vmhostctl('-s', path, 'quit'), { code: 0 });
});
