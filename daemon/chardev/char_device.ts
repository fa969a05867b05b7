/** One chardev of the command line, and who uses it. */
import type { Duplex } from 'node:stream';
import type { ChardevBackend, ChardevOption } from '../cli/chardev_options.js';
import { openFile, openNull } from './file_source.js';
import { openPipe, openStdio } from './pair_source.js';
import { openSocket } from './socket_source.js';
import type { ChardevSource, OpenSource } from './source.js';

/** Clients that may wait for someone to use the chardev. */
const MAX_WAITING = 64;

function opener(backend: ChardevBackend, failed: (error: Error) => void): OpenSource {
  switch (backend.kind) {
    case 'null':
      return openNull;
    case 'stdio':
      return openStdio;
    case 'file':
      return openFile(backend.path, backend.append);
    case 'pipe':
      return openPipe(backend.path);
    case 'socket':
      return openSocket(backend, failed);
  }
}

export class CharDevice {
  /** Its label. */
  readonly id: string;
  readonly backend: ChardevBackend;
  /** Resolves once a client is, or has been, connected. */
  readonly firstClient: Promise<void>;
  #clientCame: () => void = () => undefined;
  #source: ChardevSource | undefined;
  #take: ((stream: Duplex) => void) | undefined;
  /** Streams that nobody has taken. */
  #waiting = new Set<Duplex>();
  /** Streams that have not ended. */
  #open = new Set<Duplex>();

  private constructor({ id, backend }: ChardevOption) {
    this.id = id;
    this.backend = backend;
    this.firstClient = new Promise((resolve) => {
      this.#clientCame = resolve;
    });
  }

  /**
   * Opens it: a socket listens, or is connected.
   * @param failed told when clients of a socket cannot be accepted
   * @throws Error with one sentence that names what could not be opened
   */
  static async open(option: ChardevOption, failed: (error: Error) => void): Promise<CharDevice> {
    const device = new CharDevice(option);
    device.#source = await opener(option.backend, failed)((stream) => device.#offer(stream));
    return device;
  }

  /** As `query-chardev` shows it. */
  get info(): { label: string; filename: string; 'frontend-open': boolean } {
    return { label: this.id, filename: this.#source?.filename() ?? '', 'frontend-open': this.#take !== undefined };
  }

  /** Gives its streams to its user, who owns them: those that are there, and every one that comes. */
  use(take: (stream: Duplex) => void): void {
    this.#take = take;
    for (const stream of this.#waiting) take(stream);
    this.#waiting.clear();
  }

  /** Cuts every connection; a socket that listens goes on listening. */
  yank(): void {
    for (const stream of this.#open) stream.destroy();
  }

  #offer(stream: Duplex): void {
    // Who uses it hears of it too; but until then it must not end the process.
    stream.on('error', () => undefined);
    this.#open.add(stream);
    stream.once('close', () => this.#open.delete(stream));
    this.#clientCame();
    if (this.#take) {
      this.#take(stream);
      return;
    }
    if (this.#waiting.size >= MAX_WAITING) {
      stream.destroy();
      return;
    }
    this.#waiting.add(stream);
    stream.once('close', () => this.#waiting.delete(stream));
  }

  /** Closes what is its own; idempotent. */
  close(): void {
    this.#source?.close();
    this.#source = undefined;
    for (const stream of this.#waiting) stream.destroy();
  }
}
