/** Listening sockets whose connections can pass file descriptors. */
import { closeSync, rmSync } from 'node:fs';
import { resolve as resolvePath } from 'node:path';
import { causeOf } from '../../kvm/errors.js';
import { FdWatcher } from '../../kvm/fd_watcher_unsafe.js';
import { acceptFrom, listenOn, localAddress, type SocketAddress, setNoDelay, socketRole } from '../../kvm/sockets.js';
import { FdStream } from './fd_stream.js';
import { refused, removeStaleSocket } from './stale_socket.js';

/** How many may wait to be accepted: they are accepted at once, so this is for a burst. */
const BACKLOG = 128;

/** Accepted in a row before other work of the process gets its turn. */
const ACCEPTS_PER_TURN = 16;

/** How long accepting pauses when this process or the host has no fd left. */
const RETRY_MS = 100;

/** Bytes of a socket's path, without the terminating NUL: sun_path of unix(7). */
const MAX_PATH_BYTES = 107;

/** Only the owner may connect. */
const UMASK = 0o177;

export interface ListenerEvents {
  /** Takes a client's stream; `fd` is only to ask the kernel about it. */
  connection(stream: FdStream, fd: number): void;
  /** A client could not be accepted; told once until one could. */
  failed(error: Error): void;
}

export class SocketListener implements Disposable {
  /** Where it listens: a port of 0 is the one that the kernel chose. */
  readonly address: SocketAddress | undefined;
  readonly #fd: number;
  readonly #events: ListenerEvents;
  readonly #watcher: FdWatcher;
  /** The file to remove. */
  readonly #path: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failing = false;

  private constructor(fd: number, path: string | undefined, events: ListenerEvents) {
    this.#fd = fd;
    // The working directory may be another by the time it is removed.
    this.#path = path === undefined ? undefined : resolvePath(path);
    this.#events = events;
    this.address = localAddress(fd);
    this.#watcher = new FdWatcher(fd, () => this.#accept());
    this.#watcher.watch(true, false);
  }

  /**
   * Listens on `address`. A UNIX socket gets mode 0600, takes the place of a socket file that nobody listens on, and is removed by
   * disposal. @throws Error with one sentence
   */
  static async listen(address: SocketAddress, events: ListenerEvents): Promise<SocketListener> {
    if (address.kind === 'tcp') {
      const failed = (why: string) => new Error(`Failed to listen on ${address.host}:${address.port}: ${why}`);
      return SocketListener.#own(() => listenOn(address, BACKLOG).fd, undefined, events, failed);
    }
    const { path } = address;
    const abstract = path.startsWith('\0');
    const bytes = Buffer.byteLength(path);
    if (bytes === 0 || bytes > MAX_PATH_BYTES || path.includes('\0', abstract ? 1 : 0)) {
      throw refused(path, `the path must have 1 to ${MAX_PATH_BYTES} bytes, none of them 0; it has ${bytes}`);
    }
    if (!abstract) await removeStaleSocket(path);
    const bind = () => {
      // The file never has another mode: nothing else runs before this is undone.
      const umask = process.umask(UMASK);
      try {
        return listenOn(address, BACKLOG).fd;
      } finally {
        process.umask(umask);
      }
    };
    return SocketListener.#own(bind, abstract ? undefined : path, events, (why) => refused(path, why));
  }

  /** Serves an inherited socket that listens already. @throws Error with one sentence when it is none */
  static adopt(fd: number, events: ListenerEvents): SocketListener {
    const failed = (why: string) => new Error(`fd ${fd} cannot be listened on: ${why}`);
    let role: ReturnType<typeof socketRole>;
    try {
      role = socketRole(fd);
    } catch (error) {
      throw failed(causeOf(error));
    }
    if (role !== 'listening')
      throw failed(role === undefined ? 'it is no stream socket' : 'it is a socket that does not listen');
    return SocketListener.#own(() => fd, undefined, events, failed);
  }

  static #own(open: () => number, path: string | undefined, events: ListenerEvents, failed: (why: string) => Error) {
    let fd: number | undefined;
    try {
      fd = open();
      return new SocketListener(fd, path, events);
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      throw failed(causeOf(error));
    }
  }

  #accept(): void {
    for (let n = 0; n < ACCEPTS_PER_TURN; n++) {
      let stream: FdStream;
      let fd: number | undefined;
      try {
        fd = acceptFrom(this.#fd);
        if (fd === undefined) return;
        if (this.address?.kind === 'tcp') setNoDelay(fd);
        stream = FdStream.ofSocket(fd);
      } catch (error) {
        this.#backOff(error as Error);
        return;
      }
      this.#failing = false;
      this.#events.connection(stream, fd);
    }
  }

  /** Without an fd to spare (EMFILE) the client stays in the backlog, and would be reported again and again: wait a little. */
  #backOff(error: Error): void {
    if (!this.#failing) this.#events.failed(error);
    this.#failing = true;
    this.#watcher.watch(false, false);
    this.#retry = setTimeout(() => this.#watcher.watch(true, false), RETRY_MS);
  }

  /** Listens no more, and removes the file. Clients that are connected stay. */
  [Symbol.dispose](): void {
    clearTimeout(this.#retry);
    // Removed first: who sees the file can connect.
    if (this.#path !== undefined) rmSync(this.#path, { force: true });
    this.#watcher[Symbol.dispose]();
    closeSync(this.#fd);
  }
}
