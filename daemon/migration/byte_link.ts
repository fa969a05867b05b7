/** What a frame channel moves its bytes with: a socket, or a pair of other fds, of which one may be missing. */
import { strerror } from '../../kvm/errors.js';
import type { IoVector } from '../../kvm/iovec.js';
import { nowMs } from './progress.js';

export interface ByteLink {
  /**
   * Bounds what the kernel holds of it.
   * @returns bytes that it may hold, both ways together
   */
  bound(sendBytes: number, receiveBytes: number): number;
  /** Sends all that `vector` holds; `more` follows at once. @throws ChannelError */
  send(vector: IoVector, more: boolean): void;
  /** Runs of at least this many pages go by `sendFile`. */
  readonly filePages: number;
  /**
   * Sends bytes of a file by reference, without copying them. @throws ChannelError
   * @param offset a view of 8 bytes to work in
   */
  sendFile(file: number, start: number, length: number, offset: DataView): void;
  /** From now on a peer that takes nothing for `ms` is given up; before, it may take as long as it wants. */
  limitStall(ms: number): void;
  /** Receives until `vector` is full. @returns false where the stream ended before. @throws ChannelError */
  receive(vector: IoVector): boolean;
  /** Whether bytes, or the peer's end, can be read now or within `timeoutMs`. */
  readable(timeoutMs: number): boolean;
  /** Whether all that was sent has been taken by whoever reads, now or within `timeoutMs`. @throws ChannelError when nobody will */
  drained(timeoutMs: number): boolean;
  /** Throws away some of what arrived, by way of `into`. @returns false once the peer has closed */
  discard(into: Uint8Array): boolean;
  /** The peer reads what was sent, then its end. */
  endSending(): void;
}

/** The peer is gone, or the link fails. */
export class ChannelError extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'ChannelError';
  }
}

/** QEMU's words, by what the bytes go into: `socket`, `file` or `command`. */
export function writeError(noun: string, errno: number): ChannelError {
  return new ChannelError(`Unable to write to ${noun}: ${strerror(errno)}`);
}

/** Watches over a peer that takes nothing. */
export class StallClock {
  #limitMs = Number.POSITIVE_INFINITY;
  #tookMs = nowMs();

  limit(ms: number): void {
    this.#limitMs = ms;
  }

  /** The peer took something, or is waited for from now on. */
  took(): void {
    this.#tookMs = nowMs();
  }

  /** @throws ChannelError when it took nothing for too long */
  check(): void {
    if (nowMs() - this.#tookMs < this.#limitMs) return;
    throw new ChannelError(`the destination took no data for ${this.#limitMs} ms`);
  }
}

/** The time within which what has begun to arrive must be there whole. */
export class ArrivalClock {
  readonly #limitMs: number;
  readonly #deadlineMs: number;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    this.#deadlineMs = nowMs() + limitMs;
  }

  /** Time that is left, at least 1 ms. @throws ChannelError when there is none */
  leftMs(): number {
    const leftMs = this.#deadlineMs - nowMs();
    if (leftMs <= 0) throw new ChannelError(`the peer sent only a part of a frame within ${this.#limitMs} ms`);
    return Math.ceil(leftMs);
  }
}
