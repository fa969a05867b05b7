/** A stream over an fd of this process's own: sockets with the file descriptors that peers pass, which Node's drop; FIFOs. */
import { closeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { SysError } from '../../kvm/errors.js';
import type { Readiness } from '../../kvm/fd_watcher_unsafe.js';
import { type FdIo, socketIo } from './fd_io.js';
import { type Watcher, watchFd } from './readiness.js';

const EAGAIN = 11;

/** What a stream is made of. */
export interface StreamFds {
  /** Where its bytes come from: none do, if absent. */
  readonly input?: number;
  /** Where they go to: the same fd for a socket. */
  readonly output: number;
}

/**
 * `fds` (numbers, the listener's to close) is emitted just before the `data` they came with, so nothing is read while the stream is paused. Where nobody listens
 * for it they are closed. Half-open as sockets are: the end of the peer's sending leaves this side's.
 */
export class FdStream extends Duplex {
  readonly #input: number | undefined;
  readonly #output: number;
  readonly #io: FdIo;
  readonly #inputWatcher: Watcher | undefined;
  readonly #outputWatcher: Watcher;
  #wantsInput = false;
  #held = false;
  /** What is not written of a chunk yet. */
  #unsent: { rest: Uint8Array; done: (error?: Error | null) => void } | undefined;

  /** The stream's from now on, also where this throws: its fds. @throws SysError for one that is not open */
  constructor({ input, output }: StreamFds, io: FdIo) {
    super({ allowHalfOpen: true });
    this.#input = input;
    this.#output = output;
    this.#io = io;
    const watchers: Watcher[] = [];
    const watch = (fd: number) => {
      const watcher = watchFd(fd, (ready) => this.#ready(ready));
      watchers.push(watcher);
      return watcher;
    };
    try {
      this.#outputWatcher = watch(output);
      this.#inputWatcher = input === undefined || input === output ? undefined : watch(input);
    } catch (error) {
      for (const watcher of watchers) watcher[Symbol.dispose]();
      this.#closeFds();
      throw error;
    }
  }

  /** A connected socket, as a stream. */
  static ofSocket(fd: number): FdStream {
    return new FdStream({ input: fd, output: fd }, socketIo);
  }

  override pause(): this {
    this.#held = true;
    this.#watch();
    return super.pause();
  }

  override resume(): this {
    this.#held = false;
    this.#watch();
    return super.resume();
  }

  override _read(): void {
    this.#wantsInput = true;
    this.#watch();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#unsent = { rest: chunk, done };
    this.#write();
  }

  override _final(done: (error?: Error | null) => void): void {
    try {
      this.#io.endWriting(this.#output);
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#outputWatcher[Symbol.dispose]();
    this.#inputWatcher?.[Symbol.dispose]();
    this.#closeFds();
    const unsent = this.#unsent;
    this.#unsent = undefined;
    unsent?.done(error ?? new Error('the stream was closed'));
    done(error);
  }

  #closeFds(): void {
    closeSync(this.#output);
    if (this.#input !== undefined && this.#input !== this.#output) closeSync(this.#input);
  }

  #watch(): void {
    if (this.destroyed) return;
    const input = this.#input !== undefined && this.#wantsInput && !this.#held;
    const output = this.#unsent !== undefined;
    this.#outputWatcher.watch(input && this.#inputWatcher === undefined, output);
    this.#inputWatcher?.watch(input, false);
  }

  #ready({ readable, writable }: Readiness): void {
    if (writable && this.#unsent) this.#write();
    if (readable && this.#wantsInput && !this.#held && !this.destroyed) this.#receive();
    this.#watch();
  }

  #receive(): void {
    const received = this.#io.receive(this.#input as number);
    if (received === -EAGAIN) return;
    if (typeof received === 'number') {
      this.destroy(new SysError('receive', -received));
      return;
    }
    const { bytes, fds, truncated } = received;
    if (truncated) this.emit('fdsLost');
    if (fds.length > 0 && !this.emit('fds', fds)) for (const fd of fds) closeSync(fd);
    this.#wantsInput = false;
    if (bytes.length > 0) this.push(bytes);
    else if (this.#io.endsWithPeer) this.push(null);
  }

  #write(): void {
    const unsent = this.#unsent;
    if (!unsent) return;
    while (unsent.rest.length > 0) {
      const n = this.#io.send(this.#output, unsent.rest);
      if (n === -EAGAIN) {
        this.#watch();
        return;
      }
      if (n < 0) {
        this.#unsent = undefined;
        unsent.done(new SysError('send', -n));
        return;
      }
      unsent.rest = unsent.rest.subarray(n);
    }
    this.#unsent = undefined;
    unsent.done();
  }
}
