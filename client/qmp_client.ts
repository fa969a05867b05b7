import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { JsonReader } from '../protocol/json_reader.js';
import { isJsonObject, type JsonObject, toPlain } from '../protocol/json_value.js';
import { encodeJson } from '../protocol/json_writer.js';
import type {
  CommandArguments,
  CommandName,
  CommandReturns,
  EventData,
  EventName,
  VersionInfo,
} from '../schemas/generated/qmp.js';
import { parseAddress } from './address.js';
import { QmpConnectionError, QmpTimeoutError } from './errors.js';
import { EventQueue } from './event_queue.js';
import { type QmpClientEvents, type QmpEvent, type QmpEventOf, toEvent } from './events.js';
import { type Patience, watchPatience } from './patience.js';
import { PendingReplies } from './pending_replies.js';

export { QmpError } from '../protocol/qmp_errors.js';
export type * from '../schemas/generated/qmp.js';
export { QmpConnectionError, QmpTimeoutError } from './errors.js';
export type { EventQueue } from './event_queue.js';
export type { QmpClientEvents, QmpEvent, QmpEventOf } from './events.js';
export type { Patience } from './patience.js';

/** Integers may be given as `number` or `bigint`. */
export type Loose<T> = T extends bigint | number
  ? bigint | number
  : T extends object
    ? { [K in keyof T]: Loose<T[K]> }
    : T;

/** What a command returns when every integer is to be a `bigint`; JSON's doubles stay `number`. */
export type Exact<T> = T extends number ? number | bigint : T extends object ? { [K in keyof T]: Exact<T[K]> } : T;

export interface ConnectOptions extends Patience {
  /** Asks for out-of-band execution; the connection fails where the server does not offer it. */
  readonly oob?: boolean;
}

export interface ExecuteOptions extends Patience {
  /** Executes it out of band, before commands that wait (`exec-oob`); the connection must have asked for that. */
  readonly oob?: boolean;
  /** `bigint`: every integer returned is one. By default an integer is a `number` where that is exact, else a `bigint`. */
  readonly integers?: 'bigint' | undefined;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * A client of a QMP server, of this daemon or of QEMU. What a call's patience ends rejects that call alone: the connection goes on,
 * and a reply that comes later is dropped.
 */
export class QmpClient extends EventEmitter<QmpClientEvents> implements AsyncDisposable {
  /** Resolves when the connection is gone, with the error that ended it, if any. */
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Socket;
  readonly #reader = new JsonReader();
  readonly #replies = new PendingReplies();
  #greeted: () => void = () => undefined;
  /** Known once `connect` has resolved. */
  #version!: VersionInfo;
  #capabilities: readonly string[] = [];
  #oob = false;
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
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#lost();
        resolve(this.#failure);
      });
    });
  }

  /**
   * Connects to `unix:PATH`, `tcp:HOST:PORT` or a path, and negotiates. Rejects with one sentence when that fails or
   * takes longer than `timeoutMs` (10 s by default).
   */
  static async connect(
    address: string,
    { timeoutMs = CONNECT_TIMEOUT_MS, signal, oob = false }: ConnectOptions = {},
  ): Promise<QmpClient> {
    const socket = connect(parseAddress(address));
    socket.setNoDelay(true);
    const client = new QmpClient(socket);
    const late = () => new QmpTimeoutError(`no QMP greeting from ${address} within ${timeoutMs} ms`);
    let endWatch = (): void => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        client.#greeted = resolve;
        client.once('close', (error) => reject(error ?? new QmpConnectionError(`${address} closed the connection`)));
        endWatch = watchPatience({ timeoutMs, signal }, late, reject);
      });
      if (oob && !client.capabilities.includes('oob')) {
        throw new QmpConnectionError(`${address} does not offer out-of-band execution`);
      }
      const enable = oob ? { enable: ['oob'] } : undefined;
      await client.executeRaw('qmp_capabilities', enable, { timeoutMs, signal });
      client.#oob = oob;
      return client;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      endWatch();
    }
  }

  /** The version the server greeted with. */
  get version(): VersionInfo {
    return this.#version;
  }

  /** The capabilities the server greeted with. */
  get capabilities(): readonly string[] {
    return this.#capabilities;
  }

  /** Executes a command; resolves with what it returns, rejects with QmpError when it is refused. */
  execute<C extends CommandName>(
    name: C,
    args: Loose<CommandArguments<C>> | undefined,
    options: ExecuteOptions & { integers: 'bigint' },
  ): Promise<Exact<CommandReturns<C>>>;
  execute<C extends CommandName>(
    name: C,
    args?: Loose<CommandArguments<C>>,
    options?: ExecuteOptions,
  ): Promise<CommandReturns<C>>;
  execute(name: string, args?: object, options?: ExecuteOptions): Promise<unknown> {
    return this.executeRaw(name, args, options);
  }

  /** Executes a command that the schemas need not know. */
  async executeRaw(name: string, args?: object, options: ExecuteOptions = {}): Promise<unknown> {
    if (this.#closed || this.#socket.destroyed || this.#socket.writableEnded) {
      throw this.#failure ?? new QmpConnectionError(`cannot execute ${name}: the QMP connection is closed`);
    }
    if (options.oob && !this.#oob) throw new Error(`cannot execute ${name} out of band: that was not negotiated`);
    options.signal?.throwIfAborted();
    const command = { [options.oob ? 'exec-oob' : 'execute']: name, arguments: args };
    // Before it is counted as pending, as a value that has no JSON form throws.
    encodeJson(command);
    const { id, reply } = this.#replies.add(name, options);
    this.#socket.write(`${encodeJson({ ...command, id })}\r\n`, 'latin1');
    const value = await reply;
    return options.integers === 'bigint' ? value : toPlain(value);
  }

  /**
   * Resolves with the next event of that name which satisfies `predicate`. Rejects when the caller's patience ends, or the connection
   * does first.
   */
  waitFor<E extends EventName>(
    name: E,
    predicate: (data: EventData<E>) => boolean = () => true,
    patience: Patience = {},
  ): Promise<QmpEventOf<E>> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void): void => {
        endWatch();
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
        settle(() => resolve(event as QmpEventOf<E>));
      };
      const onClose = (error: Error | undefined): void =>
        settle(() => reject(error ?? new QmpConnectionError(`the QMP connection closed before event ${name}`)));
      let endWatch = (): void => undefined;
      if (this.#closed) {
        onClose(this.#failure);
        return;
      }
      this.on('event', onEvent).on('close', onClose);
      const late = (timeoutMs: number): Error => new QmpTimeoutError(`no event ${name} within ${timeoutMs} ms`);
      endWatch = watchPatience(patience, late, (reason) => settle(() => reject(reason)));
    });
  }

  /**
   * The events from now on, until the connection ends or the loop is left. Of events that are not consumed in time the
   * latest `capacity` (4096) are kept; `dropped` of the iterator counts the others.
   */
  events({ capacity }: { capacity?: number } = {}): EventQueue<QmpEvent> {
    const onEvent = (event: QmpEvent): void => queue.push(event);
    const onClose = (): void => queue.end();
    const queue = new EventQueue<QmpEvent>({
      onEnd: () => this.off('event', onEvent).off('close', onClose),
      capacity,
    });
    if (this.#closed) queue.end();
    else this.on('event', onEvent).on('close', onClose);
    return queue;
  }

  /** Ends the connection; resolves once it is gone. Commands still unanswered are rejected. */
  async close(): Promise<void> {
    this.#socket.end();
    this.#socket.destroy();
    await this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
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
    if (message.event !== undefined) {
      const event = toEvent(message);
      if (!event) return;
      this.emit('event', event);
      (this as EventEmitter).emit(event.event, event);
    } else if (isJsonObject(message.QMP)) {
      const { version, capabilities } = toPlain(message.QMP) as { version?: unknown; capabilities?: unknown };
      this.#version = version as VersionInfo;
      this.#capabilities = Array.isArray(capabilities) ? capabilities.map(String) : [];
      this.#greeted();
    } else if (message.return !== undefined || message.error !== undefined) {
      if (this.#replies.settle(message)) return;
      const desc = isJsonObject(message.error) ? String(message.error.desc) : 'a reply to no command';
      this.#fail(new QmpConnectionError(`unexpected reply of the QMP server: ${desc}`));
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
  }

  #lost(): void {
    this.#closed = true;
    this.#replies.rejectAll(this.#failure);
    this.emit('close', this.#failure);
  }
}
