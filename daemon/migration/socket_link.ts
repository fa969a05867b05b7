/** Bytes over a connected socket, for a thread that may block in it: `shutdown(2)` from elsewhere releases it. */
import { errnoName } from '../../kvm/errors.js';
import type { IoVector } from '../../kvm/iovec.js';
import * as libc from '../../kvm/libc_unsafe.js';
import {
  endSending,
  MSG_DONTWAIT,
  MSG_MORE,
  MSG_NOSIGNAL,
  MSG_WAITALL,
  POLLIN,
  setSendTimeout,
  setSocketBuffers,
  unsentBytes,
  waitFor,
} from '../../kvm/sockets.js';
import { ArrivalClock, type ByteLink, ChannelError, StallClock, writeError } from './byte_link.js';

const ENDED = 1;
const EINTR = 4;
const EAGAIN = 11;
const STALL_SLICE_MS = 500;
/** How often it is looked whether a socket has drained: no event tells. */
const DRAIN_SLICE_MS = 2;
/** What the kernel may hold of one more packet than a socket buffer's size says. */
export const SOCKET_OVERSHOOT = 64 * 1024;
/** Over a UNIX socket, runs of at least this many pages go by sendfile(2); over TCP none does. See docs/decisions/0004-data-path.md. */
const UNIX_SENDFILE_PAGES = 64;

export class SocketLink implements ByteLink {
  readonly filePages: number;
  readonly #fd: number;
  readonly #stall = new StallClock();
  readonly #receiveLimitMs: number | undefined;

  /**
   * @param fd a connected, blocking socket, which belongs to the caller
   * @param receiveLimitMs what has begun to arrive arrives within this time. Undefined: it may take as long as it wants.
   */
  constructor(fd: number, tcp: boolean, receiveLimitMs?: number) {
    this.#fd = fd;
    this.filePages = tcp ? Number.POSITIVE_INFINITY : UNIX_SENDFILE_PAGES;
    this.#receiveLimitMs = receiveLimitMs;
  }

  bound(sendBytes: number, receiveBytes: number): number {
    const granted = setSocketBuffers(this.#fd, sendBytes, receiveBytes);
    return granted.send + granted.receive + 2 * SOCKET_OVERSHOOT;
  }

  limitStall(ms: number): void {
    this.#stall.limit(ms);
    // A send that got rid of a part returns when its time is out, so slices say better than one timeout when the peer took anything.
    setSendTimeout(this.#fd, Math.min(ms, STALL_SLICE_MS));
  }

  send(vector: IoVector, more: boolean): void {
    for (this.#stall.took(); ; ) {
      const before = vector.bytesLeft;
      const rc = vector.sendAll(this.#fd, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
      if (rc === 0) return;
      if (rc !== -EAGAIN) throw writeError('socket', -rc);
      if (vector.bytesLeft < before) this.#stall.took();
      this.#stall.check();
    }
  }

  sendFile(file: number, start: number, length: number, offset: DataView): void {
    offset.setBigInt64(0, BigInt(start), true);
    this.#stall.took();
    for (let left = length; left > 0; ) {
      const n = libc.sendfile(this.#fd, file, offset, left);
      if (n === -EAGAIN) this.#stall.check();
      else if (n < 0 && n !== -EINTR) throw writeError('socket', -n);
      if (n === 0) throw new ChannelError('guest memory ended before its time');
      if (n > 0) {
        left -= n;
        this.#stall.took();
      }
    }
  }

  receive(vector: IoVector): boolean {
    const rc =
      this.#receiveLimitMs === undefined
        ? vector.receiveAll(this.#fd, MSG_WAITALL, ENDED)
        : this.#receiveWithin(vector, this.#receiveLimitMs);
    if (rc < 0) throw new ChannelError(`receiving failed: ${errnoName(-rc)}`);
    return rc !== ENDED;
  }

  #receiveWithin(vector: IoVector, limitMs: number): number {
    const clock = new ArrivalClock(limitMs);
    for (;;) {
      const rc = vector.receiveAll(this.#fd, MSG_DONTWAIT, ENDED);
      if (rc !== -EAGAIN) return rc;
      waitFor(this.#fd, POLLIN, clock.leftMs());
    }
  }

  readable(timeoutMs: number): boolean {
    return waitFor(this.#fd, POLLIN, timeoutMs);
  }

  drained(timeoutMs: number): boolean {
    if (unsentBytes(this.#fd) === 0) return true;
    // A peer that is gone makes the socket readable: what it left unread it will not read.
    if (waitFor(this.#fd, POLLIN, Math.min(timeoutMs, DRAIN_SLICE_MS)))
      throw new ChannelError('the peer closed the connection');
    return unsentBytes(this.#fd) === 0;
  }

  discard(into: Uint8Array): boolean {
    return libc.read(this.#fd, into) > 0;
  }

  endSending(): void {
    endSending(this.#fd);
  }
}
