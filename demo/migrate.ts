/** A migration as a management tool drives it: over QMP, from one process to the next. */
import { setTimeout as delay } from 'node:timers/promises';
import type { QmpClient } from '../client/qmp_client.js';
import type { MigrationInfo } from '../schemas/generated/qmp.js';

/** A migration that did not end in time. */
export class MigrationTimeout extends Error {
  readonly info: MigrationInfo;

  constructor(timeoutMs: number, info: MigrationInfo) {
    super(`the migration did not end within ${timeoutMs} ms`);
    this.info = info;
  }
}

/**
 * Where a destination started with `-incoming tcp:HOST:0` listens, as a `migrate` URI.
 * @throws Error when it does not listen on TCP
 */
export async function incomingUri(destination: QmpClient): Promise<string> {
  const address = (await destination.execute('query-migrate'))['socket-address']?.[0];
  if (address?.type !== 'inet') throw new Error('the destination does not say where it listens');
  return `tcp:${address.host}:${address.port}`;
}

/**
 * Polls `query-migrate` until the migration is over.
 * @param onProgress gets every answer, the last one too
 * @returns the answer with status `completed`
 * @throws Error with the cause when it failed or was cancelled, MigrationTimeout when it is not over in time
 */
export async function followMigration(
  source: QmpClient,
  { intervalMs, timeoutMs }: { intervalMs: number; timeoutMs: number },
  onProgress: (info: MigrationInfo) => void = () => undefined,
): Promise<MigrationInfo> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const info = await source.execute('query-migrate');
    onProgress(info);
    switch (info.status) {
      case 'completed':
        return info;
      case 'failed':
        throw new Error(`the migration failed: ${info['error-desc'] ?? 'no cause given'}`);
      case 'cancelled':
        throw new Error('the migration was cancelled');
    }
    if (performance.now() > deadline) throw new MigrationTimeout(timeoutMs, info);
    await delay(intervalMs);
  }
}
