/** Migrations between two daemons, by QMP alone. */
import assert from 'node:assert/strict';
import type { MigrationInfo } from '../../client/qmp_client.js';
import { VmDaemon, type VmOptions } from './vm_daemon.js';

export type Transport = 'tcp' | 'unix';
export type Policy = 'MPLM' | 'classic pre-copy';

const MIGRATION_MS = 120_000;

/** Starts a daemon that waits for a migration. @returns it, and the URI to migrate to */
export async function startDestination(
  options: VmOptions,
  transport: Transport,
): Promise<{ destination: VmDaemon; uri: string }> {
  // Port 0: the kernel chooses one, and query-migrate tells it.
  const listen = transport === 'tcp' ? 'tcp:127.0.0.1:0' : `unix:${options.dir}/${options.name}.migration`;
  const destination = await VmDaemon.start({ ...options, args: [...options.args, '-incoming', listen] });
  if (transport === 'unix') return { destination, uri: listen };
  const [address] = (await destination.qmp.execute('query-migrate'))['socket-address'] ?? [];
  if (address?.type !== 'inet') throw new Error('the destination does not listen on a port');
  return { destination, uri: `tcp:${address.host}:${address.port}` };
}

/** Resolves with the `error-desc` or undefined once the migration that `begin` starts has ended at the source. */
export async function migrationEnd(source: VmDaemon, begin: () => Promise<unknown>): Promise<MigrationInfo> {
  const ended = source.qmp.waitFor('MIGRATION', ({ status }) => /^(completed|failed|cancelled)$/.test(status), {
    timeoutMs: MIGRATION_MS,
  });
  await Promise.all([begin(), ended]);
  return source.qmp.execute('query-migrate');
}

/** Migrates, and asserts that it completed: the source is `postmigrate` and not running, the destination runs. */
export async function migrate(
  source: VmDaemon,
  destination: VmDaemon,
  uri: string,
  policy: Policy,
): Promise<MigrationInfo> {
  await source.qmp.execute('set-mplm-migration', { enable: policy === 'MPLM' });
  const info = await migrationEnd(source, () => source.qmp.execute('migrate', { uri }));
  assert.equal(info.status, 'completed', `the migration failed: ${info['error-desc']}`);
  assert.equal(info.mplm?.policy, policy === 'MPLM' ? 'mplm' : 'precopy');
  const [there, here] = await Promise.all([
    source.qmp.execute('query-status'),
    destination.qmp.execute('query-status'),
  ]);
  assert.deepEqual({ status: there.status, running: there.running }, { status: 'postmigrate', running: false });
  assert.deepEqual({ status: here.status, running: here.running }, { status: 'running', running: true });
  return info;
}

/** One line of figures. */
export function figures(info: MigrationInfo): string {
  const bytes = Number(info.ram?.transferred ?? 0);
  return `migrated ${(bytes / 2 ** 20).toFixed(1)} MiB in ${info['total-time']} ms, downtime ${info.downtime} ms`;
}
