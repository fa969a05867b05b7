/** Bytes and file descriptors over UNIX sockets: recvmsg(2) and sendmsg(2) with SCM_RIGHTS (unix(7), cmsg(3)). */
import * as libc from './libc_unsafe.js';
import { Mapping } from './memory.js';

/** Most that one call receives. */
export const RECEIVE_BYTES = 65536;
/** SCM_MAX_FD: what the kernel takes in one message (include/net/scm.h). */
const MAX_FDS = 253;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const EINTR = 4;

/** struct msghdr, struct iovec, struct cmsghdr with its data, the bytes. */
const MSGHDR = 0;
const IOVEC = 56;
const CONTROL = IOVEC + 16;
const CMSG_HEADER = 16;
const CONTROL_BYTES = CMSG_HEADER + 4 * MAX_FDS + 4; // CMSG_SPACE: a multiple of 8
const DATA = CONTROL + CONTROL_BYTES;

export interface Received {
  /** Empty at the end of the stream. */
  readonly bytes: Buffer;
  /** Close-on-exec, and the caller's. */
  readonly fds: readonly number[];
  /** Some fds were lost: this process may have no more open. */
  readonly truncated: boolean;
}

/** One `struct msghdr` with its buffers at an address of its own; calls use it one after the other. */
export class MessageBuffer implements Disposable {
  readonly #mapping = Mapping.anonymous(DATA + RECEIVE_BYTES);
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor() {
    this.#bytes = this.#mapping.view(0, DATA + RECEIVE_BYTES);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
  }

  /** Receives what is there, without waiting. @returns that, or `-errno` */
  receive(fd: number): Received | number {
    const view = this.#view;
    this.#prepare(RECEIVE_BYTES, CONTROL_BYTES);
    const n = this.#retry(() => libc.recvmsg(fd, this.#mapping.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (n < 0) return n;
    const flags = view.getInt32(MSGHDR + 48, true);
    return {
      bytes: Buffer.from(this.#bytes.subarray(DATA, DATA + n)),
      fds: this.#controlFds(view.getUint32(MSGHDR + 40, true)),
      truncated: (flags & MSG_CTRUNC) !== 0,
    };
  }

  /** Sends bytes with fds, without waiting; at least one byte. @returns how many bytes went, or `-errno` */
  send(fd: number, bytes: Uint8Array, fds: readonly number[]): number {
    const length = Math.min(bytes.length, RECEIVE_BYTES);
    if (length === 0 || fds.length > MAX_FDS) throw new RangeError(`${length} bytes with ${fds.length} fds`);
    const view = this.#view;
    this.#bytes.set(bytes.subarray(0, length), DATA);
    this.#prepare(length, fds.length === 0 ? 0 : (CMSG_HEADER + 4 * fds.length + 7) & ~7);
    view.setBigUint64(CONTROL, BigInt(CMSG_HEADER + 4 * fds.length), true);
    view.setInt32(CONTROL + 8, SOL_SOCKET, true);
    view.setInt32(CONTROL + 12, SCM_RIGHTS, true);
    fds.forEach((passed, i) => {
      view.setInt32(CONTROL + CMSG_HEADER + 4 * i, passed, true);
    });
    return this.#retry(() => libc.sendmsg(fd, this.#mapping.address, MSG_DONTWAIT | MSG_NOSIGNAL));
  }

  #prepare(dataBytes: number, controlBytes: number): void {
    const view = this.#view;
    const { address } = this.#mapping;
    view.setBigUint64(MSGHDR, 0n, true); // msg_name
    view.setUint32(MSGHDR + 8, 0, true);
    view.setBigUint64(MSGHDR + 16, BigInt(address + IOVEC), true);
    view.setBigUint64(MSGHDR + 24, 1n, true);
    view.setBigUint64(MSGHDR + 32, BigInt(controlBytes === 0 ? 0 : address + CONTROL), true);
    view.setBigUint64(MSGHDR + 40, BigInt(controlBytes), true);
    view.setInt32(MSGHDR + 48, 0, true);
    view.setBigUint64(IOVEC, BigInt(address + DATA), true);
    view.setBigUint64(IOVEC + 8, BigInt(dataBytes), true);
  }

  #retry(call: () => number): number {
    for (;;) {
      const n = call();
      if (n !== -EINTR) return n;
    }
  }

  #controlFds(length: number): number[] {
    const view = this.#view;
    const fds: number[] = [];
    for (let at = 0; at + CMSG_HEADER <= length; ) {
      const size = view.getUint32(CONTROL + at, true);
      if (size < CMSG_HEADER) break;
      if (
        view.getInt32(CONTROL + at + 8, true) === SOL_SOCKET &&
        view.getInt32(CONTROL + at + 12, true) === SCM_RIGHTS
      ) {
        for (let fd = at + CMSG_HEADER; fd + 4 <= at + size; fd += 4) fds.push(view.getInt32(CONTROL + fd, true));
      }
      at += (size + 7) & ~7;
    }
    return fds;
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
  }
}
