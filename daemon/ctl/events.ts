import type { QmpClient } from '../../client/qmp_client.js';
import { eventText } from './output.js';

export interface EventsRequest {
  /** Only events of these names; all when there are none. */
  readonly names: readonly string[];
  /** Until the connection ends; otherwise the next one only. */
  readonly follow: boolean;
}

/**
 * Prints events as they come, a line each.
 * @throws the signal's reason, the error that ended the connection, or an Error when it ended before the one event that was waited for
 */
export async function printEvents(
  client: QmpClient,
  { names, follow }: EventsRequest,
  write: (text: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const events = client.events();
  const stop = (): void => void events.return();
  signal?.addEventListener('abort', stop, { once: true });
  for await (const event of events) {
    if (names.length > 0 && !names.includes(event.event)) continue;
    write(eventText(event));
    if (!follow) return;
  }
  signal?.throwIfAborted();
  const failure = await client.closed;
  if (failure) throw failure;
  if (!follow) throw new Error('the connection closed before the event came');
}
