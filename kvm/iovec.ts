/** Scatter lists for sendmsg(2), recvmsg(2), writev(2) and readv(2), built in place: no allocation and no copy per page. */
import * as libc from './libc_unsafe.js';
import { Mapping } from './memory.js';

/** Linux's UIO_MAXIOV. */
export const IOV_MAX = 1024;
const MSGHDR_BYTES = 56;
const IOVEC_BYTES = 16;
const EINTR = 4;

/** One `struct msghdr` with up to IOV_MAX entries, at an address of its own. The memory its entries name belongs to the caller. */
export class IoVector implements Disposable {
  /** Bytes this object holds, for a budget. */
  static readonly BYTES = MSGHDR_BYTES + IOV_MAX * IOVEC_BYTES;
  readonly #mapping: Mapping;
  readonly #words: Uint32Array;
  #count = 0;
  #first = 0;
  #bytesLeft = 0;

  constructor() {
    this.#mapping = Mapping.anonymous(IoVector.BYTES);
    const bytes = this.#mapping.view(0, IoVector.BYTES);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, IoVector.BYTES / 4);
  }

  get count(): number {
    return this.#count;
  }

  get bytesLeft(): number {
    return this.#bytesLeft;
  }

  clear(): void {
    this.#count = 0;
    this.#first = 0;
    this.#bytesLeft = 0;
  }

  /** Appends `length` bytes at `address`. At most IOV_MAX entries between two `clear`s. */
  add(address: number, length: number): void {
    if (this.#count === IOV_MAX) throw new RangeError(`more than ${IOV_MAX} entries in a scatter list`);
    const at = (MSGHDR_BYTES + this.#count * IOVEC_BYTES) / 4;
    this.#words[at] = address;
    this.#words[at + 1] = address / 2 ** 32;
    this.#words[at + 2] = length;
    this.#words[at + 3] = length / 2 ** 32;
    this.#count++;
    this.#bytesLeft += length;
  }

  /**
   * Sends everything that is left, in as many sendmsg(2) as the socket wants.
   * @returns 0, or `-errno`
   */
  sendAll(fd: number, flags: number): number {
    return this.#transferAll((message) => libc.sendmsg(fd, message, flags), 0);
  }

  /**
   * Receives until every entry is full.
   * @param ended value to return when the peer closed first
   * @returns 0, `-errno`, or `ended`
   */
  receiveAll(fd: number, flags: number, ended: number): number {
    return this.#transferAll((message) => libc.recvmsg(fd, message, flags), ended);
  }

  /** Writes everything that is left to an fd of any kind. @returns 0, or `-errno`: -EAGAIN when a non-blocking one takes no more for now */
  writeAll(fd: number): number {
    return this.#transferAll((_, vector, count) => libc.writev(fd, vector, count), 0);
  }

  /** Reads from an fd of any kind until every entry is full. @returns 0, `-errno` as for `writeAll`, or `ended` at its end */
  readAll(fd: number, ended: number): number {
    return this.#transferAll((_, vector, count) => libc.readv(fd, vector, count), ended);
  }

  #transferAll(transfer: (message: number, vector: number, count: number) => number, ended: number): number {
    while (this.#bytesLeft > 0) {
      const iov = this.#mapping.address + MSGHDR_BYTES + this.#first * IOVEC_BYTES;
      const count = this.#count - this.#first;
      const words = this.#words;
      words[4] = iov; // msg_iov
      words[5] = iov / 2 ** 32;
      words[6] = count; // msg_iovlen
      const n = transfer(this.#mapping.address, iov, count);
      if (n === -EINTR) continue;
      if (n < 0) return n;
      if (n === 0) return ended;
      this.#advance(n);
    }
    return 0;
  }

  #advance(n: number): void {
    this.#bytesLeft -= n;
    const words = this.#words;
    let done = n;
    while (done > 0) {
      const at = (MSGHDR_BYTES + this.#first * IOVEC_BYTES) / 4;
      const length = words[at + 2] + words[at + 3] * 2 ** 32;
      if (done < length) {
        const address = words[at] + words[at + 1] * 2 ** 32 + done;
        words[at] = address;
        words[at + 1] = address / 2 ** 32;
        words[at + 2] = length - done;
        words[at + 3] = (length - done) / 2 ** 32;
        return;
      }
      done -= length;
      this.#first++;
    }
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
  }
}
