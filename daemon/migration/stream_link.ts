/**
 * Bytes through pipes, files and whatever else is no socket: one fd to write to, one to read from, of which one may be missing. A thread blocked in
 * a pipe could be released by nobody, so the fds do not block, and the thread waits in slices.
 */
import { errnoName } from '../../kvm/errors.js';
import type { IoVector } from '../../kvm/iovec.js';
import * as libc from '../../kvm/libc_unsafe.js';
import {
  lowerPipeCapacity,
  pipeUnread,
  readerGone,
  setNonBlocking,
  setPipeCapacity,
  syncFile,
} from '../../kvm/pipes.js';
import { POLLIN, POLLOUT, waitFor } from '../../kvm/sockets.js';
import { ArrivalClock, type ByteLink, ChannelError, StallClock, writeError } from './byte_link.js';

const ENDED = 1;
const EAGAIN = 11;
const EPIPE = 32;
const SLICE_MS = 50;
/** What anyone may set by default: /proc/sys/fs/pipe-max-size. */
const LARGEST_PIPE_BYTES = 2 ** 20;
/** How often it is looked whether a pipe has drained: no event tells. */
const DRAIN_SLICE_MS = 2;

export interface StreamFds {
  /** To read from. */
  readonly input?: number;
  /** To write to. */
  readonly output?: number;
  /** What QEMU calls it where it cannot be written to. */
  readonly noun: 'file' | 'command';
}

export interface StreamLinkOptions {
  /** Throws where the thread is to stop waiting. */
  readonly checkInterrupted: () => void;
  /** What has begun to arrive arrives within this time. Undefined: it may take as long as it wants. */
  readonly receiveLimitMs?: number;
}

export class StreamLink implements ByteLink {
  readonly filePages = Number.POSITIVE_INFINITY;
  readonly #fds: StreamFds;
  readonly #options: StreamLinkOptions;
  readonly #stall = new StallClock();
  #outputIsPipe = false;

  /** @param fds they belong to the caller */
  constructor(fds: StreamFds, options: StreamLinkOptions) {
    this.#fds = fds;
    this.#options = options;
    for (const fd of [fds.input, fds.output]) if (fd !== undefined) setNonBlocking(fd);
  }

  bound(sendBytes: number, receiveBytes: number): number {
    const { input, output } = this.#fds;
    const held = output === undefined ? 0 : setPipeCapacity(output, Math.min(sendBytes, LARGEST_PIPE_BYTES));
    this.#outputIsPipe = held > 0;
    // Who writes makes it larger; once it is full it cannot be made smaller.
    return held + (input === undefined ? 0 : lowerPipeCapacity(input, receiveBytes));
  }

  limitStall(ms: number): void {
    this.#stall.limit(ms);
  }

  send(vector: IoVector): void {
    const { output, noun } = this.#fds;
    if (output === undefined) throw new ChannelError('this channel cannot be written to');
    for (this.#stall.took(); ; ) {
      const before = vector.bytesLeft;
      const rc = vector.writeAll(output);
      if (rc === 0) return;
      if (rc !== -EAGAIN) throw writeError(noun, -rc);
      if (vector.bytesLeft < before) this.#stall.took();
      this.#stall.check();
      this.#options.checkInterrupted();
      waitFor(output, POLLOUT, SLICE_MS);
    }
  }

  sendFile(): never {
    throw new Error('nothing goes into a pipe by sendfile');
  }

  receive(vector: IoVector): boolean {
    const input = this.#input;
    const { receiveLimitMs, checkInterrupted } = this.#options;
    const clock = receiveLimitMs === undefined ? undefined : new ArrivalClock(receiveLimitMs);
    for (;;) {
      const rc = vector.readAll(input, ENDED);
      if (rc === 0) return true;
      if (rc === ENDED) return false;
      if (rc !== -EAGAIN) throw new ChannelError(`receiving failed: ${errnoName(-rc)}`);
      checkInterrupted();
      waitFor(input, POLLIN, Math.min(SLICE_MS, clock?.leftMs() ?? SLICE_MS));
    }
  }

  readable(timeoutMs: number): boolean {
    return waitFor(this.#input, POLLIN, timeoutMs);
  }

  drained(timeoutMs: number): boolean {
    const { output, noun } = this.#fds;
    if (output === undefined) return true;
    if (!this.#outputIsPipe) {
      syncFile(output);
      return true;
    }
    if (pipeUnread(output) === 0) return true;
    if (readerGone(output)) throw writeError(noun, EPIPE);
    const nothing = new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(nothing, 0, 0, Math.min(timeoutMs, DRAIN_SLICE_MS));
    return pipeUnread(output) === 0;
  }

  discard(into: Uint8Array): boolean {
    return libc.read(this.#input, into) > 0;
  }

  /** The end of a pipe is its fd's: the owner closes it. */
  endSending(): void {}

  get #input(): number {
    if (this.#fds.input === undefined) throw new ChannelError('this channel cannot be read from');
    return this.#fds.input;
  }
}
