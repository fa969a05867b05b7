import { isJsonObject, type JsonObject, type JsonValue, toPlain } from '../protocol/json_value.js';
import type { EventData, EventName } from '../schemas/generated/qmp.js';

/** An event as a client sees it. `timestamp` is in seconds since the epoch, with microseconds as its fraction. */
export type QmpEvent = { [E in EventName]: { event: E; data: EventData<E>; timestamp: number } }[EventName];

/** One kind of event. */
export type QmpEventOf<E extends EventName> = Extract<QmpEvent, { event: E }>;

type NamedEvents = { [E in EventName]: [QmpEventOf<E>] };

/**
 * What a QmpClient emits: `event` for every event, of the schemas or not; each event also under its own name; and `close`, once, when
 * the connection is gone, with the error that ended it, if any.
 */
export interface QmpClientEvents extends NamedEvents {
  event: [QmpEvent];
  close: [Error | undefined];
}

/** QAPI's names of events: none of them is a name that an EventEmitter or a QmpClient gives a meaning of its own. */
const NAME = /^[A-Z][A-Z0-9_]*$/;

/** Reads an event that came from a server; undefined when it has none of QAPI's names. */
export function toEvent(message: JsonObject): QmpEvent | undefined {
  if (typeof message.event !== 'string' || !NAME.test(message.event)) return undefined;
  const stamp = isJsonObject(message.timestamp) ? message.timestamp : {};
  const timestamp = numberOf(stamp.seconds) + numberOf(stamp.microseconds) / 1e6;
  const data = message.data === undefined ? undefined : toPlain(message.data);
  return { event: message.event, data, timestamp } as unknown as QmpEvent;
}

function numberOf(value: JsonValue | undefined): number {
  return typeof value === 'bigint' || typeof value === 'number' ? Number(value) : 0;
}
