import type { Duplex } from 'node:stream';
import type { SocketAddress } from '../../kvm/sockets.js';
import { encodeJson } from '../../protocol/json_writer.js';
import { type Command, eventMessage, findCommand } from '../../protocol/qmp_commands.js';
import { NEGOTIATION } from '../../protocol/qmp_dispatch.js';
import { schemaInfo } from '../../protocol/schema_info.js';
import {
  COMMANDS,
  type CommandArguments,
  type CommandName,
  type CommandReturns,
  type EventData,
  type EventName,
  type SchemaInfo,
  type VersionInfo,
} from '../../schemas/generated/qmp.js';
import { NamedFds } from '../fds/named_fds.js';
import { SocketListener } from '../sockets/socket_listener.js';
import { type CommandContext, QmpConnection } from './connection.js';
import { EventLimits, type Timers } from './event_limits.js';
import { CLIENT_LIMITS, type ClientLimits, FLUSH_MS, MAX_CLIENTS } from './limits.js';
import type { QmpLog } from './log.js';
import { wallClockMicroseconds } from './wall_clock.js';

/**
 * The implementations of commands. A handler returns what its schema says, or throws QmpError to refuse; anything else
 * it throws is logged and reported as GenericError. Commands without a handler are not found.
 */
export type CommandHandlers = {
  [C in CommandName]?: (
    args: CommandArguments<C>,
    context: CommandContext,
  ) => CommandReturns<C> | Promise<CommandReturns<C>>;
};

export interface QmpServerOptions {
  readonly handlers: CommandHandlers;
  readonly version: () => VersionInfo;
  readonly log: QmpLog;
  /** Told when no client is connected any more. */
  readonly lastClientGone?: () => void;
  /** Defaults: limits.ts. */
  readonly limits?: Partial<ClientLimits>;
  readonly maxClients?: number;
  /** The commands there are; the schemas by default. */
  readonly commands?: (name: string) => Command | undefined;
  /** Microseconds since the epoch, for the timestamps of events. */
  readonly now?: () => number;
  /** For events that are sent once a second. */
  readonly timers?: Timers;
  /** Clients may connect at once, but are only served from `serve()` on. */
  readonly held?: boolean;
}

type Handler = (args: object, context: CommandContext) => unknown;

/**
 * The QMP server: any number of listening sockets, several clients on each, every client with its own session.
 * Events go to all clients that have negotiated, at once; so an event emitted by a handler precedes that handler's reply.
 */
export class QmpServer {
  readonly #options: QmpServerOptions;
  readonly #limits: ClientLimits;
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #listeners = new Set<SocketListener>();
  readonly #fds = new Set<NamedFds>();
  readonly #connections = new Set<QmpConnection>();
  readonly #now: () => number;
  readonly #eventLimits: EventLimits;
  #lastClient = 0;
  /** Clients that came before they could be served; undefined from then on. */
  #early: Array<() => void> | undefined;
  #draining = false;
  #closing: Promise<void> | undefined;

  constructor(options: QmpServerOptions) {
    this.#options = options;
    this.#limits = { ...CLIENT_LIMITS, ...options.limits };
    this.#now = options.now ?? wallClockMicroseconds;
    this.#eventLimits = new EventLimits(options.timers);
    this.#early = options.held ? [] : undefined;
    // Handlers are given once, so it stays the same.
    let schema: SchemaInfo[] | undefined;
    const own: CommandHandlers = {
      'query-version': () => options.version(),
      // The last to be listed first, as in QEMU.
      'query-commands': () =>
        this.#commandNames()
          .reverse()
          .map((name) => ({ name })),
      'query-qmp-schema': () => (schema ??= schemaInfo(this.#commandNames())),
    };
    this.#handlers = new Map(Object.entries({ ...own, ...options.handlers }) as Array<[string, Handler]>);
  }

  /**
   * Listens on one more address; resolves with the address bound. Rejects with one sentence when it cannot be bound.
   * A UNIX socket gets mode 0600, replaces a socket file that nobody listens on, and is removed by close().
   */
  async listen(address: SocketAddress, { pretty = false }: { pretty?: boolean } = {}): Promise<SocketAddress> {
    if (this.#closing) throw new Error('the QMP server is closed');
    const listener = await SocketListener.listen(address, {
      connection: this.monitor({ pretty }),
      failed: (err) => this.#options.log.error({ address, err }, `QMP clients cannot be accepted: ${err.message}`),
    });
    this.#listeners.add(listener);
    const actual = listener.address ?? address;
    this.#options.log.info({ address: actual }, 'QMP is listening');
    return actual;
  }

  /** A monitor, whose clients share the file descriptors they name: what serves each client's stream, and owns it. */
  monitor({ pretty = false }: { pretty?: boolean } = {}): (stream: Duplex) => void {
    const fds = new NamedFds();
    this.#fds.add(fds);
    return (stream) => {
      const clients = this.#connections.size + (this.#early?.length ?? 0);
      if (clients < (this.#options.maxClients ?? MAX_CLIENTS)) {
        this.#accept(stream, pretty, fds);
        return;
      }
      this.#options.log.warn({ clients }, 'QMP client refused: too many are connected');
      stream.destroy();
    };
  }

  /**
   * Sends an event to every client that has negotiated. `data` must be what the event's schema says; anything else is a
   * TypeError.
   */
  emit<E extends EventName>(
    event: E,
    ...[data]: EventData<E> extends undefined ? [data?: undefined] : [data: EventData<E>]
  ): void {
    // The time is that of the event, however late it is sent.
    const message = eventMessage(event, data, this.#now());
    this.#eventLimits.pass(event, data, () => this.#broadcast(message));
  }

  #broadcast(message: object): void {
    const encoded = new Map<boolean, string>();
    for (const connection of this.#connections) {
      if (!connection.negotiated) continue;
      const { pretty } = connection;
      let text = encoded.get(pretty);
      if (text === undefined) {
        text = `${encodeJson(message, { pretty })}\r\n`;
        encoded.set(pretty, text);
      }
      connection.write(text);
    }
  }

  /** Greets the clients that are there, and from now on every one as it comes. */
  serve(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const accept of early) accept();
  }

  /**
   * Starts no further command from now on, of any client, and resolves once the running ones are answered and every
   * reply is handed to the kernel, or after `timeoutMs` milliseconds. A handler (that of quit) may call it, but must not
   * await it: its own reply is one of those waited for.
   */
  async drain(timeoutMs = FLUSH_MS): Promise<void> {
    this.#draining = true;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    const idle = Promise.all([...this.#connections].map((connection) => connection.idle()));
    await Promise.race([idle, timeout]);
    clearTimeout(timer);
  }

  /** Stops listening, lets clients take what is left for them (at most a second), ends all connections. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#draining = true;
    this.#eventLimits[Symbol.dispose]();
    this.serve();
    for (const listener of this.#listeners) listener[Symbol.dispose]();
    await Promise.all([...this.#connections].map((connection) => connection.close(FLUSH_MS)));
    for (const fds of this.#fds) fds[Symbol.dispose]();
  }

  #accept(socket: Duplex, pretty: boolean, fds: NamedFds): void {
    if (this.#closing) {
      socket.destroy();
      return;
    }
    if (this.#early) {
      socket.once('error', (err) => this.#options.log.debug({ err }, 'QMP client lost before it was served'));
      this.#early.push(() => socket.destroyed || this.#accept(socket, pretty, fds));
      return;
    }
    const server = this;
    const { log, version } = this.#options;
    const connection = new QmpConnection(++this.#lastClient, socket, {
      log,
      limits: this.#limits,
      pretty,
      fds,
      version,
      find: (name) => (this.#handlers.has(name) ? this.#find(name) : undefined),
      run: (name, args, context) => this.#handlers.get(name)?.(args, context),
      get draining() {
        return server.#draining;
      },
    });
    this.#connections.add(connection);
    socket.once('close', () => {
      this.#connections.delete(connection);
      if (this.#connections.size === 0) this.#options.lastClientGone?.();
    });
    log.debug({ client: connection.id }, 'QMP client connected');
  }

  #find(name: string): Command | undefined {
    return (this.#options.commands ?? findCommand)(name);
  }

  /** The commands that can be executed, in the order of the schemas. */
  #commandNames(): CommandName[] {
    const names = Object.keys(COMMANDS) as CommandName[];
    return names.filter((name) => name === NEGOTIATION || (this.#handlers.get(name) && this.#find(name)));
  }
}
