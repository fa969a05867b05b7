/** Ranges of guest RAM onto the stream: gathered from the mapping by one call a batch, or by reference; holes as metadata. */
import { type GuestRam, PAGE_SIZE } from '../../kvm/guest_ram.js';
import { IOV_MAX } from '../../kvm/iovec.js';
import { encodeRanges, HEADER_BYTES, MAX_FRAME_PAGES, MAX_RANGES } from '../../protocol/migration_stream.js';
import type { FrameChannel } from './frame_channel.js';
import { PageBitmap } from './policy/bitmap.js';
import type { PageRanges } from './policy/ranges.js';

/** Fills one frame's table: flat [first, count, …]. */
class Table {
  readonly ranges = new Uint32Array(2 * MAX_RANGES);
  length = 0;
  pages = 0;

  get full(): boolean {
    return this.length === MAX_RANGES;
  }

  add(first: number, count: number): void {
    this.ranges[2 * this.length] = first;
    this.ranges[2 * this.length + 1] = count;
    this.length++;
    this.pages += count;
  }

  reset(): void {
    this.length = 0;
    this.pages = 0;
  }
}

export class RamSender {
  /** Pages sent with their contents, and pages told to be zero. */
  normalPages = 0;
  zeroPages = 0;
  readonly #ram: GuestRam;
  readonly #channel: FrameChannel;
  /** Pages that were ever touched when the migration began; the rest reads as zero until someone writes there, which the log sees. */
  readonly #populated: PageBitmap;
  readonly #data = new Table();
  readonly #holes = new Table();
  readonly #offset = new DataView(new ArrayBuffer(8));

  constructor(ram: GuestRam, channel: FrameChannel) {
    this.#ram = ram;
    this.#channel = channel;
    this.#populated = new PageBitmap(ram.pages);
    for (const [first, end] of ram.populated()) this.#populated.setRange(first, end - first);
  }

  /** Sends all of `ranges`. @throws ChannelError */
  send(ranges: PageRanges): void {
    for (let i = 0; i < ranges.length; i++) {
      const first = ranges.first(i);
      const end = first + ranges.count(i);
      if (ranges.isDirty(i)) {
        this.#addData(first, end);
        continue;
      }
      for (let at = first; at < end; ) {
        const data = this.#populated.has(at);
        const stop = data ? this.#populated.nextClear(at, end) : this.#populated.nextSet(at, end);
        if (data) this.#addData(at, stop);
        else this.#addHole(at, stop);
        at = stop;
      }
    }
    this.#flushData();
    this.#flushHoles();
  }

  #addData(first: number, end: number): void {
    for (let at = first; at < end; ) {
      const count = Math.min(end - at, MAX_FRAME_PAGES - this.#data.pages);
      this.#data.add(at, count);
      at += count;
      if (this.#data.full || this.#data.pages === MAX_FRAME_PAGES) this.#flushData();
    }
  }

  #addHole(first: number, end: number): void {
    this.#holes.add(first, end - first);
    if (this.#holes.full) this.#flushHoles();
  }

  #flushHoles(): void {
    const { length, pages, ranges } = this.#holes;
    if (length === 0) return;
    encodeRanges(this.#channel.table, HEADER_BYTES, ranges, length);
    this.#channel.beginPages('ZERO', length, pages);
    this.#channel.flush(false);
    this.zeroPages += pages;
    this.#holes.reset();
  }

  #flushData(): void {
    const { length, pages, ranges } = this.#data;
    if (length === 0) return;
    const channel = this.#channel;
    const { iov } = channel;
    encodeRanges(channel.table, HEADER_BYTES, ranges, length);
    channel.beginPages('RAM', length, pages);
    for (let i = 0; i < length; i++) {
      const offset = (ranges[2 * i] as number) * PAGE_SIZE;
      const count = ranges[2 * i + 1] as number;
      if (count >= channel.filePages) {
        if (iov.count > 0) channel.flush(true);
        channel.sendFile(this.#ram.fd, offset, count * PAGE_SIZE, this.#offset);
      } else {
        if (iov.count === IOV_MAX) channel.flush(true);
        iov.add(this.#ram.address + offset, count * PAGE_SIZE);
      }
    }
    if (iov.count > 0) channel.flush(false);
    this.normalPages += pages;
    this.#data.reset();
  }
}
