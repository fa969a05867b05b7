/** Drives migrations between test daemons and watches them. */
import type { Test } from 'tap';
import type { MigrationInfo, MplmInfo } from '../../client/qmp_client.js';
import { TestDaemon, within } from './daemons.js';

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

/**
 * Begins a migration and keeps its live stage extended. Resolves when all was sent and the epoch's end, at least a second away, is
 * waited for: nothing is on its way then, and what the guest has written since waits in the dirty log.
 */
export async function extendedAndWaiting(source: TestDaemon, uri: string): Promise<void> {
  await source.qmp.execute('set-mplm-migration', { enable: true, intervaltime: 5 });
  await source.qmp.execute('migrate', { uri });
  await source.qmp.execute('set-mplm-extend-live');
  await progress(source, 'all is sent and the epoch goes on', (info) => {
    if (info.status !== 'active' || transferred(info) === 0) return false;
    const policy = mplm(info);
    const waiting = policy['non-dirty-pages'] === 0 && policy['dirty-pages'] === 0;
    return policy.extended && waiting && (policy['epoch-elapsed'] ?? 0) < 4000;
  });
}

/** What is dirty at any time is several times what the sockets' buffers hold. */
const MUCH_DIRTY = 'fill=56 ws=56 rate=max hb=50';
const LITTLE_DIRTY = 'fill=16 ws=1 rate=500 hb=50';
const TRIES = 10;

/**
 * A migration between two real daemons that stands in `stage` because its destination is stopped by SIGSTOP there. The signal is sent when
 * the source says STOP, so the destination may be too fast for it: then it is tried anew.
 */
export async function frozen(
  t: Test,
  stage: 'stop-and-copy' | 'load',
  uri?: string,
): Promise<{ source: TestDaemon; destination: TestDaemon }> {
  for (let tries = 0; tries < TRIES; tries++) {
    const [source, { daemon: destination, uri: to }] = await Promise.all([
      TestDaemon.source(t, stage === 'load' ? LITTLE_DIRTY : MUCH_DIRTY),
      TestDaemon.destination(t, uri === undefined ? {} : { uri }),
    ]);
    await extendedAndWaiting(source, to);
    source.qmp.on('event', ({ event }) => {
      if (event === 'STOP') destination.kill('SIGSTOP');
    });
    const stopped = source.event('STOP');
    await source.qmp.execute('set-mplm-end-live');
    await stopped;
    const info = await progress(
      source,
      `stage ${stage} or the end`,
      (now) => now.status !== 'active' || mplm(now).stage === stage,
    );
    if (info.status === 'active') return { source, destination };
  }
  throw new Error(`the destination could not be stopped in stage ${stage}`);
}

/**
 * Numbers of the heartbeats that a guest printed on its way over `daemons`, in this order. A line that it was printing when it was
 * paused begins on one and ends on the next.
 */
export function heartbeats(...daemons: TestDaemon[]): number[] {
  const text = daemons.map((daemon) => daemon.text).join('');
  return [...text.matchAll(/^HB (\d+) .*$/gm)].map(([, number]) => Number(number));
}

/** 1, 2, 3, … as many as there are `numbers`: what they should be. */
export function consecutive(numbers: readonly number[]): number[] {
  return numbers.map((_, i) => i + 1);
}

/** Migrates to a fresh destination: that completes, and the guest's memory and heartbeats are whole there. */
export async function movesAfterAll(t: Test, source: TestDaemon): Promise<void> {
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  const { daemon: destination, uri } = await TestDaemon.destination(t);
  const info = await migrate(source, uri);
  t.equal(info.status, 'completed', info['error-desc'] ?? 'a later migration completes');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
  const beats = heartbeats(source, destination);
  t.same(beats, consecutive(beats), 'no heartbeat is lost or comes twice');
}

/** From the loss of the destination to a source that runs and says why. */
const RECOVERY_MS = 1000;

/** `lose` takes the destination away: the source runs within a second, and says in which stage that was. */
export async function recovers(t: Test, source: TestDaemon, stage: RegExp, lose: () => void): Promise<void> {
  const end = ended(source);
  const lostMs = Date.now();
  lose();
  const info = await end;
  t.equal(await source.status(), 'running');
  t.ok(Date.now() - lostMs < RECOVERY_MS, `it runs after ${Date.now() - lostMs} ms`);
  t.equal(info.status, 'failed');
  t.match(info['error-desc'], stage);
  await source.nextLine(/^HB /);
}
