import type { QmpClient } from '../client/qmp_client.js';

/**
 * Where a destination started with `-incoming tcp:HOST:0` listens, as a `migrate` URI.
 * @throws Error when it does not listen on TCP
 */
export async function incomingUri(destination: QmpClient): Promise<string> {
  const address = (await destination.execute('query-migrate'))['socket-address']?.[0];
  if (address?.type !== 'inet') throw new Error('the destination does not say where it listens');
  return `tcp:${address.host}:${address.port}`;
}
