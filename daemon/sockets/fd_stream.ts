/** A stream over an fd of this process's own: sockets with the file descriptors that peers pass, which Node's drop; FIFOs. */
import { closeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { SysError } from '../../kvm/errors.js';
import { FdWatcher, type Readiness } from '../../kvm/fd_watcher_unsafe.js';
import type { FdIo } from './fd_io.js';

const EAGAIN = 11;

/**
 * `fds` (numbers, the listener's to close) is emitted just before the `data` they came with, so nothing is read while the stream is paused. Where nobody listens
 * for it they are closed. Half-open as sockets are: the end of the peer's sending leaves this side's.
 */
export class FdStream extends Duplex {
  readonly #fd: number;
  readonly #io: FdIo;
  readonly #watcher: FdWatcher;
  #wantsInput = false;
  #held = false;
  /** What is not written of a chunk yet. */
  #output: { rest: Uint8Array; done: (error?: Error | null) => void } | undefined;

  /** The stream's from now on, also where this throws: `fd`. @throws SysError where it cannot be waited for */
  constructor(fd: number, io: FdIo) {
    super({ allowHalfOpen: true });
    this.#fd = fd;
    this.#io = io;
    try {
      this.#watcher = new FdWatcher(fd, (ready) => this.#ready(ready));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
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
    this.#output = { rest: chunk, done };
    this.#write();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#io.endWriting(this.#fd);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#watcher[Symbol.dispose]();
    closeSync(this.#fd);
    const output = this.#output;
    this.#output = undefined;
    output?.done(error ?? new Error('the stream was closed'));
    done(error);
  }

  #watch(): void {
    this.#watcher.watch(this.#wantsInput && !this.#held, this.#output !== undefined);
  }

  #ready({ readable, writable }: Readiness): void {
    if (writable && this.#output) this.#write();
    if (readable && this.#wantsInput && !this.#held && !this.destroyed) this.#receive();
    this.#watch();
  }

  #receive(): void {
    const received = this.#io.receive(this.#fd);
    if (received === -EAGAIN) return;
    if (typeof received === 'number') {
      this.destroy(new SysError('receive', -received));
      return;
    }
    const { bytes, fds, truncated } = received;
    if (truncated) this.emit('fdsLost');
    if (fds.length > 0 && !this.emit('fds', fds)) for (const fd of fds) closeSync(fd);
    this.#wantsInput = false;
    this.push(bytes.length === 0 ? null : bytes);
  }

  #write(): void {
    const output = this.#output;
    if (!output) return;
    while (output.rest.length > 0) {
      const n = this.#io.send(this.#fd, output.rest);
      if (n === -EAGAIN) {
        this.#watch();
        return;
      }
      if (n < 0) {
        this.#output = undefined;
        output.done(new SysError('send', -n));
        return;
      }
      output.rest = output.rest.subarray(n);
    }
    this.#output = undefined;
    output.done();
  }
}
