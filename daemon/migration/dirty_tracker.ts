/** What was written since it was last sent: KVM's dirty log and this process's own writes, as one bitmap of RAM pages. */
import { type GuestRam, PAGE_SIZE } from '../../kvm/guest_ram.js';
import { Mapping } from '../../kvm/memory.js';
import type { Vm } from '../../kvm/vm.js';
import { PageBitmap } from './policy/bitmap.js';
import type { PageRanges } from './policy/ranges.js';

/** Pages cleared by one ioctl when tracking starts (256 MiB): bounds how long the kernel holds its MMU lock. */
const START_CHUNK_PAGES = 65536;

/**
 * Tracks writes to all of RAM while it exists; disposing of it stops the log. The bitmaps cost two bits a page.
 */
export class DirtyTracker implements Disposable {
  readonly #vm: Vm;
  readonly #ram: GuestRam;
  readonly #logMemory: Mapping;
  readonly #clearMemory: Mapping;
  readonly #logWords: Uint32Array;
  readonly #log: PageBitmap;
  /** All zero between calls. */
  readonly #clear: PageBitmap;
  #disposed = false;

  /** @param initiallySet the log starts with every page set (KVM_DIRTY_LOG_INITIALLY_SET) */
  constructor(vm: Vm, ram: GuestRam, initiallySet: boolean) {
    this.#vm = vm;
    this.#ram = ram;
    const bytes = Math.ceil(ram.pages / 64) * 8;
    this.#logMemory = Mapping.anonymous(bytes);
    this.#clearMemory = Mapping.anonymous(bytes);
    this.#logWords = wordsOf(this.#logMemory);
    this.#log = new PageBitmap(ram.pages, this.#logWords.subarray(0, Math.ceil(ram.pages / 32)));
    this.#clear = new PageBitmap(ram.pages, wordsOf(this.#clearMemory).subarray(0, Math.ceil(ram.pages / 32)));
    ram.trackHostWrites(true);
    vm.setRam(ram, true);
    if (initiallySet) this.#clearAll();
  }

  /** Reads the log: pages written since each was last cleared. The bitmap is valid until the next call. */
  sync(): PageBitmap {
    for (const slot of this.#ram.slots) {
      this.#vm.getDirtyLog(slot.slot, this.#logMemory.address + slot.offset / PAGE_SIZE / 8);
    }
    this.#ram.takeHostWrites(this.#logWords);
    return this.#log;
  }

  /** Clears the ranges that come from the dirty set: a write from now on marks its page again. One ioctl a memory slot. */
  clear(ranges: PageRanges): void {
    if (ranges.dirtyPages === 0) return;
    for (const slot of this.#ram.slots) {
      const slotFirst = slot.offset / PAGE_SIZE;
      const slotEnd = slotFirst + slot.byteLength / PAGE_SIZE;
      let low = slotEnd;
      let high = slotFirst;
      for (let i = 0; i < ranges.length; i++) {
        if (!ranges.isDirty(i)) continue;
        const first = Math.max(ranges.first(i), slotFirst);
        const end = Math.min(ranges.first(i) + ranges.count(i), slotEnd);
        if (first >= end) continue;
        this.#clear.setRange(first, end - first);
        low = Math.min(low, first);
        high = Math.max(high, end);
      }
      if (low >= high) continue;
      low -= low % 64;
      high = Math.min(Math.ceil(high / 64) * 64, slotEnd);
      this.#vm.clearDirtyLog(slot.slot, low - slotFirst, high - low, this.#clearMemory.address + low / 8);
      this.#clear.clearRange(low, high - low);
    }
  }

  #clearAll(): void {
    this.#clear.fill();
    for (const slot of this.#ram.slots) {
      const slotFirst = slot.offset / PAGE_SIZE;
      const pages = slot.byteLength / PAGE_SIZE;
      for (let at = 0; at < pages; at += START_CHUNK_PAGES) {
        const count = Math.min(START_CHUNK_PAGES, pages - at);
        this.#vm.clearDirtyLog(slot.slot, at, count, this.#clearMemory.address + (slotFirst + at) / 8);
      }
    }
    this.#clear.empty();
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#vm.setRam(this.#ram, false);
    this.#ram.trackHostWrites(false);
    this.#logMemory[Symbol.dispose]();
    this.#clearMemory[Symbol.dispose]();
  }
}

function wordsOf(mapping: Mapping): Uint32Array {
  const bytes = mapping.view(0, mapping.byteLength);
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
