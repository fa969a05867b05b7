/** Payload of RAM frames from the socket straight into guest RAM. */
import { type GuestRam, PAGE_SIZE } from '../../kvm/guest_ram.js';
import { IOV_MAX } from '../../kvm/iovec.js';
import { punchHole } from '../../kvm/memory.js';
import { decodeRanges, type FrameHeader, MAX_RANGES } from '../../protocol/migration_stream.js';
import type { FrameChannel } from './frame_channel.js';
import { PageBitmap } from './policy/bitmap.js';

/** Runs of at least this many pages are populated in one go before they are received; shorter ones fault as they are written. */
const POPULATE_PAGES = 32;
/** Pages populated, then received, at a time (4 MiB): the sender fills the socket meanwhile. */
const CHUNK_PAGES = 1024;

export class RamReceiver {
  /** Pages received with their contents, and pages told to be zero. */
  normalPages = 0;
  zeroPages = 0;
  readonly #ram: GuestRam;
  readonly #channel: FrameChannel;
  readonly #ranges = new Uint32Array(2 * MAX_RANGES);
  readonly #populated: PageBitmap;

  constructor(ram: GuestRam, channel: FrameChannel) {
    this.#ram = ram;
    this.#channel = channel;
    this.#populated = new PageBitmap(ram.pages);
  }

  /** Receives the table and payload of a RAM frame. @throws StreamError, ChannelError */
  receiveRam(header: FrameHeader, offset: number): void {
    const length = this.#receiveTable(header, offset);
    const { iov } = this.#channel;
    iov.clear();
    for (let i = 0; i < length; i++) {
      let first = this.#ranges[2 * i] as number;
      let left = this.#ranges[2 * i + 1] as number;
      while (left > 0) {
        const count = Math.min(left, CHUNK_PAGES);
        if (count >= POPULATE_PAGES) {
          if (iov.count > 0) this.#receive();
          this.#populate(first, count);
        }
        iov.add(this.#ram.address + first * PAGE_SIZE, count * PAGE_SIZE);
        if (count >= POPULATE_PAGES || iov.count === IOV_MAX) this.#receive();
        first += count;
        left -= count;
      }
    }
    if (iov.count > 0) this.#receive();
    this.normalPages += header.pages;
  }

  /** Receives a ZERO frame: what this side holds there is given back. */
  receiveZero(header: FrameHeader, offset: number): void {
    const length = this.#receiveTable(header, offset);
    for (let i = 0; i < length; i++) {
      const first = this.#ranges[2 * i] as number;
      const count = this.#ranges[2 * i + 1] as number;
      punchHole(this.#ram.fd, first * PAGE_SIZE, count * PAGE_SIZE);
      this.#populated.clearRange(first, count);
    }
    this.zeroPages += header.pages;
  }

  #receiveTable(header: FrameHeader, offset: number): number {
    const table = this.#channel.receiveBody(header);
    return decodeRanges(table, header, this.#ram.pages, offset, this.#ranges);
  }

  #receive(): void {
    this.#channel.receivePayload();
    this.#channel.iov.clear();
  }

  #populate(first: number, count: number): void {
    if (this.#populated.nextClear(first, first + count) === first + count) return;
    if (this.#ram.populate(first, count)) this.#populated.setRange(first, count);
  }
}
