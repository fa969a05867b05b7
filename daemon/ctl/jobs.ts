/** Commands whose work goes on after they were answered, and how their end is waited for. */
import type { MigrationInfo, QmpClient, QmpEventOf } from '../../client/qmp_client.js';
import { followMigration, pause } from './follow_migration.js';

const INTERVAL_MS = 100;

export interface JobWatcher {
  readonly signal: AbortSignal;
  /** Gets every answer of `query-migrate`. */
  readonly onProgress: (info: MigrationInfo) => void;
}

/** One run of such a command, made before the command is sent so that it misses no event. */
export interface Job extends Disposable {
  /** What goes on, for a sentence. */
  readonly name: string;
  /** The command that asks it to stop, if there is one. */
  readonly cancel?: 'migrate_cancel';
  /** @returns what the command's query says at the end @throws Error with one sentence when it failed */
  follow(watcher: JobWatcher): Promise<unknown>;
}

/** Asks until the answer is no longer one of `busy`. */
async function poll(client: QmpClient, query: string, busy: readonly string[], signal: AbortSignal): Promise<object> {
  for (;;) {
    const answer = (await client.executeRaw(query, undefined, { signal })) as { status?: string };
    if (!busy.includes(answer.status ?? '')) return answer;
    await pause(INTERVAL_MS, signal);
  }
}

const migration =
  (name: string, more: Pick<Job, 'cancel'> = {}) =>
  (client: QmpClient): Job => ({
    name,
    ...more,
    follow: ({ signal, onProgress }) => followMigration(client, { intervalMs: INTERVAL_MS, signal }, onProgress),
    [Symbol.dispose]: () => undefined,
  });

/** `query-dump` says only that a dump failed; the event says why. */
function dump(client: QmpClient): Job {
  let cause: string | undefined;
  const onCompleted = ({ data }: QmpEventOf<'DUMP_COMPLETED'>): void => {
    cause = data.error;
  };
  client.on('DUMP_COMPLETED', onCompleted);
  return {
    name: 'the dump',
    async follow({ signal }) {
      const answer = (await poll(client, 'query-dump', ['active'], signal)) as { status?: string };
      if (answer.status === 'failed') throw new Error(`the dump failed: ${cause ?? 'no cause given'}`);
      return answer;
    },
    [Symbol.dispose]: () => client.off('DUMP_COMPLETED', onCompleted),
  };
}

const JOBS: { readonly [command: string]: ((client: QmpClient) => Job) | undefined } = Object.assign(
  Object.create(null),
  {
    migrate: migration('the migration', { cancel: 'migrate_cancel' }),
    'migrate-incoming': migration('the incoming migration'),
    'dump-guest-memory': dump,
    'calc-dirty-rate': (client: QmpClient): Job => ({
      name: 'the measurement',
      follow: ({ signal }) => poll(client, 'query-dirty-rate', ['measuring'], signal),
      [Symbol.dispose]: () => undefined,
    }),
  },
);

/** Names of the commands that are jobs. */
export const JOB_NAMES = Object.keys(JOBS);

/** The job that a command begins; undefined for a command that is over when it is answered. */
export function jobOf(client: QmpClient, command: string): Job | undefined {
  return JOBS[command]?.(client);
}
