import type { Duplex } from 'node:stream';
import { JsonReader, type JsonResult } from '../../protocol/json_reader.js';
import { encodeJson } from '../../protocol/json_writer.js';
import type { Command } from '../../protocol/qmp_commands.js';
import { type Dispatch, QmpSession } from '../../protocol/qmp_dispatch.js';
import { genericError, QmpError } from '../../protocol/qmp_errors.js';
import type { VersionInfo } from '../../schemas/generated/qmp.js';
import type { NamedFds } from '../fds/named_fds.js';
import { PassedFds } from '../fds/passed_fds.js';
import { Fifo } from './fifo.js';
import type { ClientLimits } from './limits.js';
import type { QmpLog } from './log.js';

/** What a handler is told about the request it serves. */
export interface CommandContext {
  /** Number of the client, unique in the life of the server. */
  readonly client: number;
  /** Runs `action` once the reply has been written: what it emits comes after the reply. Not run if the command fails. */
  afterReply(action: () => void): void;
  /** The file descriptors that clients of this monitor gave names. */
  readonly fds: NamedFds;
  /** The first of the file descriptors that came with this command, or before it; the handler's to close. The others that came with it are closed. */
  takeFd(): number | undefined;
}

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly log: QmpLog;
  readonly limits: ClientLimits;
  readonly pretty: boolean;
  readonly fds: NamedFds;
  version(): VersionInfo;
  find(name: string): Command | undefined;
  run(name: string, args: object, context: CommandContext): unknown;
  /** True when no further command is to be started. */
  readonly draining: boolean;
}

/** What was read: a value or an error, or file descriptors in their place among these, since commands see those that came before. */
type Input = JsonResult | { readonly fds: readonly number[] };

/** How long a client is served in a row before other work of the process gets its turn. */
const TURN_MS = 2;
/** How much is read in one go: each byte may be an error that is to be answered. */
const SLICE_BYTES = 128;

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * One client of the QMP server: reads its commands, runs them strictly in order (out-of-band ones at once), writes each
 * message in one piece. Owns the socket.
 */
export class QmpConnection {
  readonly id: number;
  readonly #socket: Duplex;
  readonly #host: ConnectionHost;
  readonly #session: QmpSession;
  readonly #reader = new JsonReader();
  /** What was read and not yet looked at. */
  readonly #arrived = new Fifo<{ readonly bytes: Uint8Array } | { readonly fds: readonly number[] }>();
  /** With out-of-band execution: what waits for the command that runs. */
  readonly #inBand = new Fifo<Input>();
  #turnFromMs = 0;
  #pumping = false;
  #runningInBand = false;
  #active = 0;
  #inputEnded = false;
  #closed = false;
  #wakers: Array<() => void> = [];
  readonly #passedFds = new PassedFds();

  constructor(id: number, socket: Duplex, host: ConnectionHost) {
    this.id = id;
    this.#socket = socket;
    this.#host = host;
    this.#session = new QmpSession((name) => host.find(name));
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('fds', (fds: readonly number[]) => this.#arrived.push({ fds }));
    socket.on('end', () => this.#end());
    socket.on('drain', () => {
      this.#wake();
      this.#flow();
    });
    socket.on('error', (err) => host.log.debug({ client: id, err }, 'QMP client lost'));
    socket.on('close', () => {
      this.#closed = true;
      for (const input of [...this.#arrived.clear(), ...this.#inBand.clear()]) {
        if ('fds' in input) this.#passedFds.replace(input.fds);
      }
      this.#passedFds.replace([]);
      this.#wake();
    });
    this.#send(this.#session.greeting(host.version()));
  }

  /** True when the client is to be sent events. */
  get negotiated(): boolean {
    return this.#session.negotiated;
  }

  get pretty(): boolean {
    return this.#host.pretty;
  }

  /** Writes a message that is encoded already, line end included. */
  write(text: string): void {
    if (this.#closed || this.#socket.writableEnded) return;
    const waiting = this.#socket.writableLength;
    if (waiting > this.#host.limits.hardBytes) {
      this.#host.log.warn({ client: this.id, waiting }, 'QMP client does not read its messages, disconnecting it');
      this.#closed = true;
      this.#socket.destroy();
      return;
    }
    this.#socket.write(text, 'latin1');
  }

  /** Resolves once no command is running and everything written has been handed to the kernel, or the client is gone. */
  async idle(): Promise<void> {
    while (!this.#closed && (this.#active > 0 || this.#socket.writableLength > 0)) await this.#changed();
  }

  /** Ends the connection once what was written is sent; cuts it after `flushMs` milliseconds. */
  async close(flushMs: number): Promise<void> {
    if (this.#socket.destroyed) return;
    const gone = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    const timer = setTimeout(() => this.#socket.destroy(), flushMs);
    // What the client still sends is thrown away: unread input would turn the end of the stream into a reset.
    this.#socket.removeAllListeners('data').resume();
    this.#socket.end(() => this.#socket.destroy());
    await gone;
    clearTimeout(timer);
  }

  #data(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
      this.#arrived.push({ bytes: chunk.subarray(at, at + SLICE_BYTES) });
    }
    void this.#pump();
    this.#flow();
  }

  #end(): void {
    this.#inputEnded = true;
    void this.#pump();
  }

  get #congested(): boolean {
    return this.#socket.writableLength > this.#host.limits.softBytes;
  }

  /** Reads on only while nothing waits in either direction, but for the commands that may with out-of-band execution. */
  #flow(): void {
    if (this.#closed) return;
    if (!this.#pumping && !this.#congested) this.#socket.resume();
    else this.#socket.pause();
  }

  /** True when work may go on; before that others had their turn, and there is room for more to be sent. */
  async #mayGoOn(): Promise<boolean> {
    if (performance.now() - this.#turnFromMs > TURN_MS) {
      await nextTurn();
      this.#turnFromMs = performance.now();
    }
    while (this.#congested && !this.#stopped) await this.#changed();
    return !this.#stopped;
  }

  get #stopped(): boolean {
    return this.#closed || this.#host.draining;
  }

  /** Takes what has arrived in its order. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    while (await this.#mayGoOn()) {
      const arrived = this.#arrived.shift();
      if (arrived === undefined) break;
      if ('fds' in arrived) await this.#admit(arrived);
      else for (const input of this.#reader.feed(arrived.bytes)) if (await this.#mayGoOn()) await this.#admit(input);
    }
    this.#pumping = false;
    this.#flow();
    this.#endIfDone();
  }

  /** Runs an input, or lets it wait beside what may overtake it. */
  async #admit(input: Input): Promise<void> {
    if (!this.#session.oob) await this.#take(input);
    else if (this.#isUrgent(input)) {
      // Commands that take no time are answered in their order, as they are by QEMU.
      if (this.#active > 0) await nextTurn();
      void this.#take(input);
    } else {
      this.#inBand.push(input);
      void this.#runInBand();
      while (this.#inBand.length >= this.#host.limits.queue && !this.#stopped) await this.#changed();
    }
  }

  /** With out-of-band execution: runs the commands that wait, one after the other. */
  async #runInBand(): Promise<void> {
    if (this.#runningInBand) return;
    this.#runningInBand = true;
    while (await this.#mayGoOn()) {
      const input = this.#inBand.shift();
      if (input === undefined) break;
      await this.#take(input);
    }
    this.#runningInBand = false;
    this.#endIfDone();
  }

  #endIfDone(): void {
    const idle = !this.#pumping && !this.#runningInBand && this.#active === 0;
    if (this.#inputEnded && idle && !this.#stopped) this.#socket.end();
  }

  #isUrgent(input: Input): boolean {
    return !('fds' in input) && this.#session.isOutOfBand(input);
  }

  async #take(input: Input): Promise<void> {
    if ('fds' in input) this.#passedFds.replace(input.fds);
    else await this.#execute(input);
    this.#wake();
    this.#endIfDone();
  }

  /** Handles one input up to its reply. Never rejects. */
  async #execute(input: JsonResult): Promise<void> {
    this.#active++;
    try {
      const dispatch = this.#session.dispatch(input);
      if (dispatch.kind === 'reply') this.#send(dispatch.message);
      else await this.#run(dispatch);
    } catch (err) {
      this.#host.log.error({ client: this.id, err }, 'QMP request failed inside the server');
      this.#socket.destroy();
    } finally {
      this.#active--;
    }
  }

  async #run({ command, args, success, failure }: Extract<Dispatch, { kind: 'run' }>): Promise<void> {
    const after: Array<() => void> = [];
    const context: CommandContext = {
      client: this.id,
      afterReply: (action) => after.push(action),
      fds: this.#host.fds,
      takeFd: () => this.#passedFds.takeFirst(),
    };
    let text: string;
    try {
      text = this.#encode(success(await this.#host.run(command.name, args, context)));
    } catch (err) {
      after.length = 0;
      const known = err instanceof QmpError;
      if (!known) this.#host.log.error({ client: this.id, command: command.name, err }, 'QMP command failed');
      text = this.#encode(failure(known ? err : genericError(err instanceof Error ? err.message : String(err))));
    }
    this.write(text);
    for (const action of after) {
      try {
        action();
      } catch (err) {
        this.#host.log.error({ client: this.id, command: command.name, err }, 'QMP command failed after its reply');
      }
    }
  }

  #encode(message: object): string {
    return `${encodeJson(message, { pretty: this.#host.pretty })}\r\n`;
  }

  #send(message: object): void {
    this.write(this.#encode(message));
  }

  /** Resolves at the next change that may unblock a waiter. */
  #changed(): Promise<void> {
    return new Promise((resolve) => this.#wakers.push(resolve));
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const waker of wakers) waker();
  }
}
