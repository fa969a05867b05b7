/** Frames over a connected socket, for a thread that may block in it. Nothing here looks at what the frames mean. */
import { errnoName } from '../../kvm/errors.js';
import { IoVector } from '../../kvm/iovec.js';
import * as libc from '../../kvm/libc_unsafe.js';
import { Mapping } from '../../kvm/memory.js';
import {
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_WAITALL,
  POLLIN,
  setSendTimeout,
  setSocketBuffers,
  waitFor,
} from '../../kvm/sockets.js';
import {
  decodeHeader,
  decodeJson,
  encodeHeader,
  encodeJson,
  type FrameHeader,
  type FrameName,
  HEADER_BYTES,
  MAX_JSON_BYTES,
  RANGE_BYTES,
} from '../../protocol/migration_stream.js';
import type { Budget } from './budget.js';
import { nowMs } from './progress.js';

const ENDED = 1;
const STALL_SLICE_MS = 500;
/** What the kernel may hold of one more packet than a socket buffer's size says. */
const SOCKET_OVERSHOOT = 64 * 1024;

/** The peer is gone, or the socket fails. */
export class ChannelError extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'ChannelError';
  }
}

/** How a side divides its bound: the direction of the data gets what is left of it, the other what small frames need. */
export function socketShares(bound: number, direction: 'send' | 'receive'): { send: number; receive: number } {
  const small = 64 * 1024;
  const large = Math.max(small, Math.floor(bound / 2) - small - 2 * SOCKET_OVERSHOOT);
  return direction === 'send' ? { send: large, receive: small } : { send: small, receive: large };
}

/** One side's end of the stream. The fd belongs to the caller. */
export class FrameChannel implements Disposable {
  readonly fd: number;
  readonly #buffer: Mapping;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #iov: IoVector;
  readonly #direction: 'send' | 'receive';
  #drawn: Disposable[] = [];
  #sent = 0;
  #received = 0;
  #sentFrames = 0;
  #receivedFrames = 0;
  #stallLimitMs = Number.POSITIVE_INFINITY;
  /** The peer's answers are small: what has begun to arrive arrives within this time. Undefined: it may take as long as it wants. */
  readonly #receiveLimitMs: number | undefined;

  /** Bounds the socket's buffers and draws them, and the tables, from `budget`. @throws BudgetError */
  constructor(fd: number, budget: Budget, direction: 'send' | 'receive', receiveLimitMs?: number) {
    this.fd = fd;
    this.#direction = direction;
    this.#receiveLimitMs = receiveLimitMs;
    this.#draw(budget);
    this.#buffer = Mapping.anonymous(HEADER_BYTES + MAX_JSON_BYTES);
    this.#bytes = this.#buffer.view(0, this.#buffer.byteLength);
    this.#view = this.#buffer.dataView();
    this.#iov = new IoVector();
  }

  /** Lowers the bound to `bound` and draws this channel's buffers from it anew. @throws BudgetError */
  rebound(budget: Budget, bound: number): void {
    for (const drawn of this.#drawn) drawn[Symbol.dispose]();
    this.#drawn = [];
    budget.lower(bound);
    this.#draw(budget);
  }

  #draw(budget: Budget): void {
    const shares = socketShares(budget.bound, this.#direction);
    const granted = setSocketBuffers(this.fd, shares.send, shares.receive);
    this.#drawn.push(budget.draw('socket buffers', granted.send + granted.receive + 2 * SOCKET_OVERSHOOT));
    this.#drawn.push(budget.draw('frame buffers', HEADER_BYTES + MAX_JSON_BYTES + IoVector.BYTES));
  }

  /** Bytes of the stream so far, each way. */
  get sentBytes(): number {
    return this.#sent;
  }

  get receivedBytes(): number {
    return this.#received;
  }

  /** Where a table is written before `sendPages`: ranges begin at HEADER_BYTES. */
  get table(): DataView {
    return this.#view;
  }

  /** The scatter list of the frame being sent or received. */
  get iov(): IoVector {
    return this.#iov;
  }

  /** From now on a peer that takes nothing for `ms` is given up; before, it may take as long as it wants. */
  limitStall(ms: number): void {
    this.#stallLimitMs = ms;
    // A send that got rid of a part returns when its time is out, so slices say better than one timeout when the peer took anything.
    setSendTimeout(this.fd, Math.min(ms, STALL_SLICE_MS));
  }

  #checkStall(tookMs: number): void {
    if (nowMs() - tookMs < this.#stallLimitMs) return;
    throw new ChannelError(`the destination took no data for ${this.#stallLimitMs} ms`);
  }

  /** Sends a frame with a JSON body, given as an object or as its text. @throws ChannelError */
  sendJson(type: FrameName, body: object | string): void {
    const bytes = encodeJson(body);
    this.#bytes.set(bytes, HEADER_BYTES);
    this.#header(type, bytes.length, 0);
    this.#iov.clear();
    this.#iov.add(this.#buffer.address, HEADER_BYTES + bytes.length);
    this.flush(0);
  }

  /**
   * Begins a RAM or ZERO frame whose table was written to `table`: the header and table become the first entry of `iov`.
   * The caller adds the payload and calls `flush`.
   */
  beginPages(type: 'RAM' | 'ZERO', rangeCount: number, pages: number): void {
    this.#header(type, rangeCount * RANGE_BYTES, pages);
    this.#iov.clear();
    this.#iov.add(this.#buffer.address, HEADER_BYTES + rangeCount * RANGE_BYTES);
  }

  /** Sends what `iov` holds, then empties it. `flags` may say MSG_MORE. @throws ChannelError */
  flush(flags: number): void {
    const bytes = this.#iov.bytesLeft;
    for (let tookMs = nowMs(); ; ) {
      const before = this.#iov.bytesLeft;
      const rc = this.#iov.sendAll(this.fd, flags | MSG_NOSIGNAL);
      if (rc === 0) break;
      if (rc !== -EAGAIN) throw sendError(rc);
      if (this.#iov.bytesLeft < before) tookMs = nowMs();
      this.#checkStall(tookMs);
    }
    this.#sent += bytes;
    this.#iov.clear();
  }

  /**
   * Sends bytes of a file by reference, without copying them. @throws ChannelError
   * @param offset a view of 8 bytes to work in
   */
  sendFile(file: number, start: number, length: number, offset: DataView): void {
    offset.setBigInt64(0, BigInt(start), true);
    for (let left = length, tookMs = nowMs(); left > 0; ) {
      const n = libc.sendfile(this.fd, file, offset, left);
      if (n === -EAGAIN) this.#checkStall(tookMs);
      else if (n < 0 && n !== -EINTR) throw sendError(n);
      if (n === 0) throw new ChannelError('guest memory ended before its time');
      if (n > 0) {
        left -= n;
        tookMs = nowMs();
      }
    }
    this.#sent += length;
  }

  /** Whether a frame, or the peer's end, can be read now or within `timeoutMs`. */
  readable(timeoutMs: number): boolean {
    return waitFor(this.fd, POLLIN, timeoutMs);
  }

  /** Receives a header. @throws StreamError for a hostile one, ChannelError when the peer is gone */
  receiveHeader(): FrameHeader {
    const at = this.#received;
    this.#receive(0, HEADER_BYTES);
    const header = decodeHeader(this.#view, this.#receivedFrames, at);
    this.#receivedFrames = (this.#receivedFrames + 1) >>> 0;
    return header;
  }

  /** Receives a table or JSON body: valid until the next call. Its size was checked with the header. */
  receiveBody(header: FrameHeader): DataView {
    this.#receive(HEADER_BYTES, header.bodyBytes);
    return new DataView(this.#view.buffer, this.#view.byteOffset + HEADER_BYTES, header.bodyBytes);
  }

  receiveJson(header: FrameHeader): Record<string, unknown> {
    const at = this.#received;
    this.#receive(HEADER_BYTES, header.bodyBytes);
    return decodeJson(this.#bytes.subarray(HEADER_BYTES, HEADER_BYTES + header.bodyBytes), header.type, at);
  }

  /** Fills the memory that `iov` names with the next bytes of the stream. */
  receivePayload(): void {
    const bytes = this.#iov.bytesLeft;
    const rc = this.#receiveLimitMs === undefined ? this.#receiveAll() : this.#receiveWithin(this.#receiveLimitMs);
    if (rc === ENDED) throw new ChannelError(`the peer closed the connection at stream offset ${this.#received}`);
    if (rc < 0) throw new ChannelError(`receiving failed: ${errnoName(-rc)}`);
    this.#received += bytes;
  }

  /** Throws away what arrives within `timeoutMs`. @returns false once the peer has closed */
  discard(timeoutMs: number): boolean {
    if (!this.readable(timeoutMs)) return true;
    return libc.recv(this.fd, this.#buffer.address, this.#buffer.byteLength, 0) > 0;
  }

  #receiveAll(): number {
    return this.#iov.receiveAll(this.fd, MSG_WAITALL, ENDED);
  }

  #receiveWithin(limitMs: number): number {
    const deadlineMs = nowMs() + limitMs;
    for (;;) {
      const rc = this.#iov.receiveAll(this.fd, MSG_DONTWAIT, ENDED);
      if (rc !== -EAGAIN) return rc;
      const leftMs = deadlineMs - nowMs();
      if (leftMs <= 0) {
        throw new ChannelError(
          `the peer sent only a part of a frame within ${limitMs} ms, at stream offset ${this.#received}`,
        );
      }
      waitFor(this.fd, POLLIN, Math.ceil(leftMs));
    }
  }

  #receive(at: number, length: number): void {
    this.#iov.clear();
    this.#iov.add(this.#buffer.address + at, length);
    this.receivePayload();
  }

  #header(type: FrameName, bodyBytes: number, pages: number): void {
    encodeHeader(this.#view, { type, bodyBytes, pages, sequence: this.#sentFrames });
    this.#sentFrames = (this.#sentFrames + 1) >>> 0;
  }

  [Symbol.dispose](): void {
    this.#iov[Symbol.dispose]();
    this.#buffer[Symbol.dispose]();
    for (const drawn of this.#drawn) drawn[Symbol.dispose]();
  }
}

const EINTR = 4;
const EAGAIN = 11;

function sendError(rc: number): ChannelError {
  return new ChannelError(`sending failed: ${errnoName(-rc)}`);
}
