import { BootError, hex } from './boot_error.js';
import { E820_RAM, e820, type GpaRange, MIN_RAM_BYTES } from './memory_map.js';

/**
 * Guest RAM as the loaders need it. Addresses are guest-physical and in bytes. The loaders only ever pass ranges
 * that lie inside one region of RAM; an implementation may throw on any other.
 */
export interface BootMemory {
  readonly ramBytes: number;
  write(gpa: number, bytes: Uint8Array): void;
  /** Reads `byteLength` bytes at `fileOffset` of `fd` straight into RAM; throws if the file ends before. */
  loadFile(fd: number, fileOffset: number, gpa: number, byteLength: number): void;
  zero(gpa: number, byteLength: number): void;
}

interface Claim {
  readonly what: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Who gets which part of RAM during boot. Every byte that a loader writes is claimed first, so that hostile
 * addresses can reach neither outside RAM nor into another image or the loader's own tables.
 */
export class RamClaims {
  readonly #ram: readonly GpaRange[];
  readonly #claims: Claim[] = [];

  constructor(ramBytes: number) {
    if (!Number.isSafeInteger(ramBytes) || ramBytes < MIN_RAM_BYTES) {
      throw new BootError(
        `${ramBytes} bytes of RAM are too few to boot a kernel; at least ${MIN_RAM_BYTES} are needed`,
      );
    }
    this.#ram = e820(ramBytes).filter((entry) => entry.type === E820_RAM);
  }

  /**
   * Takes [start, start + byteLength) for `what` (a phrase that error texts begin with). Throws BootError if any
   * of it is not RAM, or is taken already.
   */
  claim(what: string, start: number, byteLength: number): void {
    const end = start + byteLength;
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || byteLength < 0) {
      throw new BootError(`${what} has an address or size out of range (${hex(start)}, ${hex(byteLength)} bytes)`);
    }
    if (byteLength === 0) {
      return;
    }
    if (!this.#ram.some((ram) => start >= ram.start && end <= ram.start + ram.byteLength)) {
      throw new BootError(
        `${what} does not fit into guest RAM: it needs ${hex(start)} to ${hex(end - 1)}, RAM is ${this.#describeRam()}`,
      );
    }
    const other = this.#claims.find((claim) => start < claim.end && end > claim.start);
    if (other !== undefined) {
      throw new BootError(
        `${what} (${hex(start)} to ${hex(end - 1)}) overlaps with ${other.what} (${hex(other.start)} to ${hex(other.end - 1)})`,
      );
    }
    this.#claims.push({ what, start, end });
  }

  /**
   * Takes the highest free, page-aligned range of `byteLength` bytes that ends at or below `limit` and starts at
   * or above `floor`; returns its start. Throws BootError if there is none.
   */
  claimHighest(what: string, byteLength: number, floor: number, limit: number): number {
    const tops = [...this.#ram.map((ram) => ram.start + ram.byteLength), ...this.#claims.map((c) => c.start), limit];
    for (const top of tops.filter((t) => t <= limit).sort((a, b) => b - a)) {
      const start = Math.floor((top - byteLength) / 4096) * 4096;
      if (start >= floor && this.#isFree(start, start + byteLength)) {
        this.claim(what, start, byteLength);
        return start;
      }
    }
    throw new BootError(
      `${what} is too big: no ${byteLength} free bytes of RAM between ${hex(floor)} and ${hex(limit)}; RAM is ${this.#describeRam()}`,
    );
  }

  #isFree(start: number, end: number): boolean {
    return (
      this.#ram.some((ram) => start >= ram.start && end <= ram.start + ram.byteLength) &&
      !this.#claims.some((claim) => start < claim.end && end > claim.start)
    );
  }

  #describeRam(): string {
    return this.#ram.map((ram) => `${hex(ram.start)} to ${hex(ram.start + ram.byteLength - 1)}`).join(', ');
  }
}
