/** Frames over a connected socket, for a thread that may block in it. Nothing here looks at what the frames mean. */
import { IoVector } from '../../kvm/iovec.js';
import { Mapping } from '../../kvm/memory.js';
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
import { type ByteLink, ChannelError } from './byte_link.js';
import { SOCKET_OVERSHOOT } from './socket_link.js';

/** How a side divides its bound: the direction of the data gets what is left of it, the other what small frames need. */
export function socketShares(bound: number, direction: 'send' | 'receive'): { send: number; receive: number } {
  const small = 64 * 1024;
  const large = Math.max(small, Math.floor(bound / 2) - small - 2 * SOCKET_OVERSHOOT);
  return direction === 'send' ? { send: large, receive: small } : { send: small, receive: large };
}

/** One side's end of the stream. The link belongs to the caller. */
export class FrameChannel implements Disposable {
  readonly #link: ByteLink;
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

  /** Bounds the link's buffers and draws them, and the tables, from `budget`. @throws BudgetError */
  constructor(link: ByteLink, budget: Budget, direction: 'send' | 'receive') {
    this.#link = link;
    this.#direction = direction;
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
    this.#drawn.push(budget.draw("the channel's buffers", this.#link.bound(shares.send, shares.receive)));
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

  /** See ByteLink. */
  limitStall(ms: number): void {
    this.#link.limitStall(ms);
  }

  /** Runs of at least this many pages go by `sendFile`. */
  get filePages(): number {
    return this.#link.filePages;
  }

  /** Sends a frame with a JSON body, given as an object or as its text. @throws ChannelError */
  sendJson(type: FrameName, body: object | string): void {
    const bytes = encodeJson(body);
    this.#bytes.set(bytes, HEADER_BYTES);
    this.#header(type, bytes.length, 0);
    this.#iov.clear();
    this.#iov.add(this.#buffer.address, HEADER_BYTES + bytes.length);
    this.flush(false);
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

  /** Sends what `iov` holds, then empties it; `more` follows at once. @throws ChannelError */
  flush(more: boolean): void {
    const bytes = this.#iov.bytesLeft;
    this.#link.send(this.#iov, more);
    this.#sent += bytes;
    this.#iov.clear();
  }

  /** Sends bytes of a file by reference. @throws ChannelError. @param offset a view of 8 bytes to work in */
  sendFile(file: number, start: number, length: number, offset: DataView): void {
    this.#link.sendFile(file, start, length, offset);
    this.#sent += length;
  }

  /** Whether a frame, or the peer's end, can be read now or within `timeoutMs`. */
  readable(timeoutMs: number): boolean {
    return this.#link.readable(timeoutMs);
  }

  /** Whether all that was sent has been taken, now or within `timeoutMs`. @throws ChannelError when nobody will take it */
  drained(timeoutMs: number): boolean {
    return this.#link.drained(timeoutMs);
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
    if (!this.#link.receive(this.#iov)) {
      throw new ChannelError(`the peer closed the connection at stream offset ${this.#received}`);
    }
    this.#received += bytes;
  }

  /** Throws away what arrives within `timeoutMs`. @returns false once the peer has closed */
  discard(timeoutMs: number): boolean {
    if (!this.readable(timeoutMs)) return true;
    return this.#link.discard(this.#bytes);
  }

  /** The peer reads what was sent, then its end. */
  endSending(): void {
    this.#link.endSending();
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
