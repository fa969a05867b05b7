import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { JsonReader } from '../protocol/json_reader.js';
import { isJsonObject, type JsonObject, type JsonValue, toPlain } from '../protocol/json_value.js';
import { encodeJson } from '../protocol/json_writer.js';
import { QmpError, type QmpErrorClass } from '../protocol/qmp_errors.js';
import type {
  CommandArguments,
  CommandName,
  CommandReturns,
  EventData,
  EventName,
  VersionInfo,
} from '../schemas/generated/qmp.js';
import { parseAddress } from './address.js';
import { EventQueue } from './event_queue.js';

export { QmpError } from '../protocol/qmp_errors.js';
export type * from '../schemas/generated/qmp.js';

/** An event as a client sees it. `timestamp` is in seconds since the epoch, with microseconds as its fraction. */
export type QmpEvent = { [E in EventName]: { event: E; data: EventData<E>; timestamp: number } }[EventName];

/** Integers may be given as `number` or `bigint`. */
type Loose<T> = T extends bigint ? bigint | number : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;

/** The connection ended, or what came over it is not QMP. */
export class QmpConnectionError extends Error {
  override name = 'QmpConnectionError';
}

interface Pending {
  readonly name: string;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * A client of a QMP server, of this daemon or of QEMU. Emits `event` for every event and `close` once when the connection
 * is gone, with the error that ended it, if any.
 */
export class QmpClient extends EventEmitter<{ event: [QmpEvent]; close: [Error | undefined] }> {
  readonly #socket: Socket;
  readonly #reader = new JsonReader();
  readonly #pending = new Map<string, Pending>();
  #greeting: ((greeting: JsonObject) => void) | undefined;
  #version: VersionInfo | undefined;
  #lastId = 0;
  #failure: Error | undefined;
  #closed = false;

  private constructor(socket: Socket) {
    super();
    // Every waiter and iterator listens; none of them leaks.
    this.setMaxListeners(0);
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('error', (cause) =>
      this.#fail(new QmpConnectionError(`QMP connection failed: ${cause.message}`, { cause })),
    );
    socket.on('close', () => this.#gone());
  }

  /**
   * Connects to `unix:PATH`, `tcp:HOST:PORT` or a path, and negotiates. Rejects with one sentence when that fails or
   * takes longer than `timeoutMs` (10 s by default).
   */
  static async connect(
    address: string,
    { timeoutMs = CONNECT_TIMEOUT_MS }: { timeoutMs?: number } = {},
  ): Promise<QmpClient> {
    const socket = connect(parseAddress(address));
    socket.setNoDelay(true);
    const client = new QmpClient(socket);
    const timer = setTimeout(() => {
      client.#fail(new QmpConnectionError(`no QMP greeting from ${address} within ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      const greeting = await new Promise<JsonObject>((resolve, reject) => {
        client.#greeting = resolve;
        client.once('close', (error) => reject(error ?? new QmpConnectionError(`${address} closed the connection`)));
      });
      client.#version = toPlain((greeting.QMP as JsonObject).version as JsonValue) as unknown as VersionInfo;
      await client.executeRaw('qmp_capabilities');
      return client;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The version the server greeted with. */
  get version(): VersionInfo {
    return this.#version as VersionInfo;
  }

  /** Executes a command; resolves with what it returns, rejects with QmpError when it is refused. */
  execute<C extends CommandName>(name: C, args?: Loose<CommandArguments<C>>): Promise<CommandReturns<C>> {
    return this.executeRaw(name, args) as Promise<CommandReturns<C>>;
  }

  /** Executes a command that the schemas need not know. Integers in the result are `number` where exact, else `bigint`. */
  executeRaw(name: string, args?: object): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed || this.#socket.destroyed || this.#socket.writableEnded) {
        reject(this.#failure ?? new QmpConnectionError(`cannot execute ${name}: the QMP connection is closed`));
        return;
      }
      const id = String(++this.#lastId);
      const text = encodeJson({ execute: name, arguments: args, id });
      this.#pending.set(id, { name, resolve, reject });
      this.#socket.write(`${text}\r\n`, 'latin1');
    });
  }

  /**
   * Resolves with the next event of that name which satisfies `predicate`. Rejects after `timeoutMs` (none by default),
   * or when the connection ends first.
   */
  waitFor<E extends EventName>(
    name: E,
    predicate: (data: EventData<E>) => boolean = () => true,
    { timeoutMs }: { timeoutMs?: number } = {},
  ): Promise<Extract<QmpEvent, { event: E }>> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void): void => {
        clearTimeout(timer);
        this.off('event', onEvent).off('close', onClose);
        action();
      };
      const onEvent = (event: QmpEvent): void => {
        try {
          if (event.event !== name || !predicate(event.data as EventData<E>)) return;
        } catch (error) {
          settle(() => reject(error));
          return;
        }
        settle(() => resolve(event as Extract<QmpEvent, { event: E }>));
      };
      const onClose = (error: Error | undefined): void =>
        settle(() => reject(error ?? new QmpConnectionError(`the QMP connection closed before event ${name}`)));
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => {
              settle(() => reject(new Error(`no event ${name} within ${timeoutMs} ms`)));
            }, timeoutMs);
      if (this.#closed) onClose(this.#failure);
      else this.on('event', onEvent).on('close', onClose);
    });
  }

  /**
   * The events from now on, until the connection ends or the loop is left. Of events that are not consumed in time the
   * latest 4096 are kept.
   */
  events(): AsyncIterableIterator<QmpEvent> {
    const queue = new EventQueue<QmpEvent>(() => {
      this.off('event', onEvent).off('close', onClose);
    });
    const onEvent = (event: QmpEvent): void => queue.push(event);
    const onClose = (): void => queue.end();
    if (this.#closed) queue.end();
    else this.on('event', onEvent).on('close', onClose);
    return queue;
  }

  /** Ends the connection; resolves once it is gone. Commands still unanswered are rejected. */
  async close(): Promise<void> {
    if (this.#closed) return;
    const gone = new Promise<void>((resolve) => this.once('close', () => resolve()));
    this.#socket.end();
    this.#socket.destroy();
    await gone;
  }

  #data(chunk: Uint8Array): void {
    for (const input of this.#reader.feed(chunk)) {
      if ('error' in input || !isJsonObject(input.value)) {
        const reason = 'error' in input ? input.error : 'a message is not a JSON object';
        this.#fail(new QmpConnectionError(`the server does not speak QMP: ${reason}`));
        return;
      }
      this.#message(input.value);
    }
  }

  #message(message: JsonObject): void {
    if (typeof message.event === 'string') this.emit('event', toEvent(message));
    else if (isJsonObject(message.QMP)) this.#greeting?.(message);
    else if (message.return !== undefined || message.error !== undefined) this.#reply(message);
  }

  #reply(message: JsonObject): void {
    const pending = typeof message.id === 'string' ? this.#pending.get(message.id) : undefined;
    if (!pending) {
      const desc = isJsonObject(message.error) ? String(message.error.desc) : 'a reply to no command';
      this.#fail(new QmpConnectionError(`unexpected reply of the QMP server: ${desc}`));
      return;
    }
    this.#pending.delete(message.id as string);
    if (isJsonObject(message.error)) {
      pending.reject(new QmpError(String(message.error.class) as QmpErrorClass, String(message.error.desc)));
    } else pending.resolve(toPlain(message.return as JsonValue));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
  }

  #gone(): void {
    this.#closed = true;
    for (const { name, reject } of this.#pending.values()) {
      reject(this.#failure ?? new QmpConnectionError(`the QMP connection closed before ${name} was answered`));
    }
    this.#pending.clear();
    this.emit('close', this.#failure);
  }
}

function toEvent(message: JsonObject): QmpEvent {
  const stamp = isJsonObject(message.timestamp) ? message.timestamp : {};
  const data = message.data === undefined ? undefined : toPlain(message.data);
  const timestamp = Number(stamp.seconds ?? 0) + Number(stamp.microseconds ?? 0) / 1e6;
  return { event: message.event, data, timestamp } as unknown as QmpEvent;
}
