/** Drives migrations between test daemons and watches them. */
import type { MigrationInfo, MplmInfo } from '../../client/qmp_client.js';
import { type TestDaemon, within } from './daemons.js';

const ENDED = new Set(['completed', 'failed', 'cancelled']);

/** Starts a migration; resolves with `query-migrate` once it is over, however it ended. */
export async function migrate(
  source: TestDaemon,
  uri: string,
  args: { 'max-buffer-bytes'?: number } = {},
): Promise<MigrationInfo> {
  const end = ended(source);
  await source.qmp.execute('migrate', { uri, ...args });
  return end;
}

/** `query-migrate` after the end of a migration that is about to begin or runs. */
export async function ended(source: TestDaemon, timeoutMs = 30_000): Promise<MigrationInfo> {
  await source.event('MIGRATION', ({ data }) => ENDED.has(data.status), { from: source.events.length, timeoutMs });
  return source.qmp.execute('query-migrate');
}

/** Asks `query-migrate` again and again until `holds`; each answer is a round trip. */
export async function progress(
  source: TestDaemon,
  what: string,
  holds: (info: MigrationInfo) => boolean,
  timeoutMs = 10_000,
): Promise<MigrationInfo> {
  let stop = false;
  const asking = (async () => {
    for (;;) {
      const info = await source.qmp.execute('query-migrate');
      if (stop || holds(info)) return info;
      if (ENDED.has(info.status ?? '')) {
        throw new Error(`${what}: the migration is ${info.status} (${info['error-desc'] ?? 'no error'})`);
      }
    }
  })();
  try {
    return await within(timeoutMs, what, asking);
  } finally {
    stop = true;
  }
}

/** The bytes that went over the wire. */
export function transferred(info: MigrationInfo): number {
  return Number(info.ram?.transferred ?? 0);
}

/** What the migration says of its policy. */
export function mplm(info: MigrationInfo): MplmInfo {
  if (!info.mplm) throw new Error(`query-migrate says nothing of the policy: ${info.status}`);
  return info.mplm;
}
