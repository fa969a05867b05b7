/** A migration as a management tool follows it: by asking again and again. */
import { setTimeout as delay } from 'node:timers/promises';
import type { MigrationInfo, QmpClient } from '../../client/qmp_client.js';

/** A migration that did not end in time. */
export class MigrationTimeout extends Error {
  readonly info: MigrationInfo;

  constructor(timeoutMs: number, info: MigrationInfo) {
    super(`the migration did not end within ${timeoutMs} ms`);
    this.info = info;
  }
}

/** A migration that was cancelled, by whomever. */
export class MigrationCancelled extends Error {
  constructor() {
    super('the migration was cancelled');
  }
}

export interface FollowOptions {
  readonly intervalMs: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Polls `query-migrate` until the migration is over.
 * @param onProgress gets every answer, the last one too
 * @returns the answer with status `completed`
 * @throws Error with the cause when it failed, MigrationCancelled, MigrationTimeout when it is not over in time, or the signal's reason
 */
export async function followMigration(
  client: QmpClient,
  { intervalMs, timeoutMs = Number.POSITIVE_INFINITY, signal }: FollowOptions,
  onProgress: (info: MigrationInfo) => void = () => undefined,
): Promise<MigrationInfo> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const info = await client.execute('query-migrate', undefined, { signal });
    onProgress(info);
    switch (info.status) {
      case 'completed':
        return info;
      case 'failed':
        throw new Error(`the migration failed: ${info['error-desc'] ?? 'no cause given'}`);
      case 'cancelled':
        throw new MigrationCancelled();
    }
    if (performance.now() > deadline) throw new MigrationTimeout(timeoutMs, info);
    await pause(intervalMs, signal);
  }
}

/** Waits between two questions. @throws the signal's reason */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => signal?.throwIfAborted());
}
