import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { socketPath } from '../daemon/qmp/socket_path.js';
import { modelServer } from '../helpers/model_server.js';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** What a program that uses the package may write, and what its compiler must refuse. */
const CONSUMER = `
import { once } from 'node:events';
import { QmpClient, QmpError, type MigrationInfo, type QmpEvent } from 'vmhostd/client';

const client = await QmpClient.connect(process.argv[2] as string, { timeoutMs: 5000 });
const stopped: Promise<unknown[]> = once(client, 'STOP');
client.on('SHUTDOWN', ({ data }) => { const guest: boolean = data.guest; void guest; });
await client.execute('stop');
await stopped;
const status: string = (await client.execute('query-status')).status;
const loose = () => client.execute('migrate-set-parameters', { 'max-bandwidth': 1, 'downtime-limit': 300n });
const info = async (): Promise<MigrationInfo> => client.execute('query-migrate');
const each = async () => {
  for await (const event of client.events()) {
    const one: QmpEvent = event;
    if (one.event === 'MIGRATION') { const status: string = one.data.status; void status; }
  }
};
const refused = () => client.execute('stop').catch((e: unknown) => e instanceof QmpError && e.class === 'CommandNotFound');
const wrong = () => {
  // @ts-expect-error no such command
  void client.execute('no-such-command');
  // @ts-expect-error no such argument
  void client.execute('migrate', { url: 'tcp:a:1' });
  // @ts-expect-error an argument of another type
  void client.execute('migrate', { uri: 1 });
  // @ts-expect-error no such event
  void client.waitFor('NO_SUCH_EVENT');
  // @ts-expect-error no such member of an event
  client.on('STOP', ({ data }) => data.reason);
};
void [loose, info, each, refused, wrong];
await client.close();
console.log(status);
`;

t.test('a program finds the client and its types in the packed package', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-consumer-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir], { cwd: ROOT });
  const [tarball] = readdirSync(dir);
  const installed = join(dir, 'node_modules/vmhostd');
  mkdirSync(installed, { recursive: true });
  await run('tar', ['-xzf', join(dir, tarball as string), '--strip-components=1', '-C', installed]);
  mkdirSync(join(dir, 'node_modules/@types'));
  symlinkSync(join(ROOT, 'node_modules/@types/node'), join(dir, 'node_modules/@types/node'));
  symlinkSync(join(ROOT, 'node_modules/undici-types'), join(dir, 'node_modules/undici-types'));
  writeFileSync(join(dir, 'package.json'), '{"type": "module"}');
  writeFileSync(join(dir, 'consumer.ts'), CONSUMER);
  // Without skipLibCheck: the declarations themselves are compiled too.
  const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'];
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  await t.resolves(
    run(process.execPath, [tsc, ...options, 'consumer.ts'], { cwd: dir }).catch(({ stdout }) => {
      throw new Error(stdout);
    }),
  );

  const path = socketPath(t);
  const server = modelServer();
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const { stdout } = await run(process.execPath, ['consumer.js', path], { cwd: dir });
  t.equal(stdout, 'paused\n');
});
