/**
 * Guest RAM: a memfd, mapped shared, below and above the 32-bit hole.
 *
 * Page numbers here count pages of the memfd ("RAM pages"): RAM page p is byte p·4096 of it. The guest sees them at
 * guest-physical addresses with a hole below 4 GiB for devices.
 */
import { SysError } from './errors.js';
import * as libc from './libc_unsafe.js';
import {
  closeFd,
  createMemfd,
  dataExtents,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_POPULATE_WRITE,
  Mapping,
  WINDOW_BYTES,
} from './memory.js';

export const PAGE_SIZE = 4096;
/** RAM ends here below 4 GiB; the rest continues at 4 GiB. */
export const HOLE_START = 0xc000_0000;
export const HOLE_END = 0x1_0000_0000;

/** One memory slot: `byteLength` bytes at guest-physical `gpa`, found at `offset` in the memfd. */
export interface RamSlot {
  readonly slot: number;
  readonly gpa: number;
  readonly offset: number;
  readonly byteLength: number;
}

/** The slots of `ramBytes` of RAM. */
export function ramSlots(ramBytes: number): RamSlot[] {
  const low = Math.min(ramBytes, HOLE_START);
  const slots: RamSlot[] = [{ slot: 0, gpa: 0, offset: 0, byteLength: low }];
  if (ramBytes > low) slots.push({ slot: 1, gpa: HOLE_END, offset: low, byteLength: ramBytes - low });
  return slots;
}

/** What another thread needs to see the same RAM. */
export interface RamHandle {
  readonly fd: number;
  readonly address: number;
  readonly ramBytes: number;
  readonly hostDirty: SharedArrayBuffer;
}

/** All guest RAM of one VM. The thread that created it owns the memfd and the mapping. */
export class GuestRam implements Disposable {
  readonly fd: number;
  readonly ramBytes: number;
  readonly slots: readonly RamSlot[];
  /** Word 0: whether this process's own writes are being tracked (written by the migration, read by every writer); then one bit a page. */
  readonly #hostDirty: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #mapping: Mapping;
  readonly #owned: boolean;
  #disposed = false;

  private constructor(handle: RamHandle, mapping: Mapping, owned: boolean) {
    this.fd = handle.fd;
    this.ramBytes = handle.ramBytes;
    this.slots = ramSlots(handle.ramBytes);
    this.#hostDirty = handle.hostDirty;
    this.#words = new Int32Array(handle.hostDirty);
    this.#mapping = mapping;
    this.#owned = owned;
  }

  /**
   * Makes RAM of `ramBytes` (a multiple of 4096), untouched: it takes no memory until it is written.
   * @throws SysError when the kernel has no room for it
   */
  static create(ramBytes: number): GuestRam {
    const fd = createMemfd('vmhostd-ram', ramBytes);
    try {
      const mapping = Mapping.ofFd(fd, ramBytes);
      mapping.advise(MADV_DONTFORK);
      mapping.advise(MADV_DONTDUMP);
      const hostDirty = new SharedArrayBuffer(4 + Math.ceil(ramBytes / PAGE_SIZE / 32) * 4);
      return new GuestRam({ fd, address: mapping.address, ramBytes, hostDirty }, mapping, true);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** The same RAM, seen from another thread; disposing of it unmaps nothing. */
  static attach(handle: RamHandle): GuestRam {
    return new GuestRam(handle, Mapping.borrowed(handle.address, handle.ramBytes), false);
  }

  get handle(): RamHandle {
    return { fd: this.fd, address: this.#mapping.address, ramBytes: this.ramBytes, hostDirty: this.#hostDirty };
  }

  get address(): number {
    return this.#mapping.address;
  }

  get pages(): number {
    return this.ramBytes / PAGE_SIZE;
  }

  /**
   * Offset in the memfd of guest-physical [gpa, gpa + length).
   * @throws RangeError when those bytes are not all RAM of one slot
   */
  offsetOf(gpa: number, length: number): number {
    for (const s of this.slots) {
      if (gpa >= s.gpa && length >= 0 && gpa + length <= s.gpa + s.byteLength) return s.offset + (gpa - s.gpa);
    }
    throw new RangeError(`guest-physical 0x${gpa.toString(16)}+${length} is not RAM`);
  }

  /** A copy of guest memory. */
  read(gpa: number, length: number): Uint8Array {
    const base = this.offsetOf(gpa, length);
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const n = windowPart(base + done, length - done);
      out.set(this.#mapping.view(base + done, n), done);
      done += n;
    }
    return out;
  }

  /**
   * The bytes of [offset, offset + length) of the memfd, piece by piece: live views of at most `pieceBytes`, or a number of bytes that were never
   * touched and so are zero. Reading a view of those would give them memory.
   */
  *pieces(offset: number, length: number, pieceBytes: number): Generator<Uint8Array | number> {
    const to = offset + length;
    let at = offset;
    for (const [start, end] of dataExtents(this.fd, to, offset)) {
      if (start > at) yield start - at;
      for (at = start; at < end; ) {
        const n = windowPart(at, Math.min(end - at, pieceBytes));
        yield this.#mapping.view(at, n);
        at += n;
      }
    }
    if (at < to) yield to - at;
  }

  /** Writes into guest memory and marks the pages, which KVM's dirty log does not see. */
  write(gpa: number, bytes: Uint8Array): void {
    const base = this.offsetOf(gpa, bytes.length);
    for (let done = 0; done < bytes.length; ) {
      const n = windowPart(base + done, bytes.length - done);
      this.#mapping.view(base + done, n).set(bytes.subarray(done, done + n));
      done += n;
    }
    this.#mark(base, bytes.length);
  }

  /** Fills with zeros. */
  zero(gpa: number, length: number): void {
    const base = this.offsetOf(gpa, length);
    for (let done = 0; done < length; ) {
      const n = windowPart(base + done, length - done);
      this.#mapping.view(base + done, n).fill(0);
      done += n;
    }
    this.#mark(base, length);
  }

  /**
   * Reads `length` bytes of `fd` from `fileOffset` straight into guest memory, without a copy in between.
   * @throws SysError when reading fails, Error when the file ends early
   */
  loadFile(fd: number, fileOffset: number, gpa: number, length: number): void {
    const base = this.offsetOf(gpa, length);
    for (let done = 0; done < length; ) {
      const n = libc.pread(fd, this.#mapping.address + base + done, length - done, fileOffset + done);
      if (n < 0) throw new SysError('pread', -n, `loading ${length} bytes to 0x${gpa.toString(16)}`);
      if (n === 0) throw new Error(`the file ends ${length - done} bytes early while loading to 0x${gpa.toString(16)}`);
      done += n;
    }
    this.#mark(base, length);
  }

  /**
   * Gives RAM pages their memory now, in one call, instead of by a fault each.
   * @returns false where this kernel cannot (before Linux 5.14): the pages then fault as they are written
   */
  populate(firstPage: number, count: number): boolean {
    try {
      this.#mapping.advise(MADV_POPULATE_WRITE, firstPage * PAGE_SIZE, count * PAGE_SIZE);
      return true;
    } catch (error) {
      if (error instanceof SysError && error.code === 'EINVAL') return false;
      throw error;
    }
  }

  /** Starts or stops tracking of this process's own writes; starting forgets what was marked before. */
  trackHostWrites(on: boolean): void {
    if (on) this.#words.fill(0, 1);
    Atomics.store(this.#words, 0, on ? 1 : 0);
  }

  /** Adds the pages this process wrote since the last call to `bitmap` (one bit a RAM page) and forgets them. */
  takeHostWrites(bitmap: Uint32Array): void {
    const words = this.#words;
    for (let i = 1; i < words.length; i++) {
      if (words[i] !== 0) bitmap[i - 1] |= Atomics.exchange(words, i, 0);
    }
  }

  /** Parts of RAM that were ever touched, as [start, end) RAM pages. */
  *populated(): Generator<[number, number]> {
    for (const [start, end] of dataExtents(this.fd, this.ramBytes)) {
      yield [Math.floor(start / PAGE_SIZE), Math.ceil(end / PAGE_SIZE)];
    }
  }

  #mark(offset: number, length: number): void {
    if (length === 0 || Atomics.load(this.#words, 0) === 0) return;
    const last = Math.floor((offset + length - 1) / PAGE_SIZE);
    for (let page = Math.floor(offset / PAGE_SIZE); page <= last; page++) {
      Atomics.or(this.#words, 1 + (page >>> 5), 1 << (page & 31));
    }
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#mapping[Symbol.dispose]();
    if (this.#owned) closeFd(this.fd);
  }
}

function windowPart(offset: number, length: number): number {
  return Math.min(length, WINDOW_BYTES - (offset % WINDOW_BYTES));
}
