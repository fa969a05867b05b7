/** Guest-physical memory as it is read from outside the guest: RAM, the firmware's image below 4 GiB, and nothing elsewhere. */
import { type GuestRam, HOLE_END } from '../../kvm/guest_ram.js';
import type { Mapping } from '../../kvm/memory.js';

/** Most bytes of one piece: what one system call writes. */
const PIECE_BYTES = 2 ** 20;
/** Most bytes of one piece of zeros, so that they stay exact as a number. */
const ZEROS_BYTES = 2n ** 50n;

/** A live view of guest memory, or a number of bytes that are zero. */
export type Piece = Uint8Array | number;

/** Guest-physical addresses that are memory. */
export interface MemoryBlock {
  readonly gpa: number;
  readonly byteLength: number;
}

interface Region extends MemoryBlock {
  pieces(offset: number, length: number): Iterable<Piece>;
}

export class PhysicalMemory {
  readonly #regions: readonly Region[];

  /** Without a machine there is no memory at all. */
  constructor(machine: { readonly ram: GuestRam; readonly rom: Mapping } | undefined) {
    this.#regions = machine ? regionsOf(machine.ram, machine.rom) : [];
  }

  /** All that is memory, in order of address. */
  get blocks(): readonly MemoryBlock[] {
    return this.#regions;
  }

  /** How many bytes from `gpa` on are memory. */
  backedBytes(gpa: bigint): number {
    const region = this.#regionAt(gpa);
    return region ? region.gpa + region.byteLength - Number(gpa) : 0;
  }

  /** The bytes of [gpa, gpa + length); where there is no memory, they are zero. */
  *pieces(gpa: bigint, length: bigint): Generator<Piece> {
    const end = gpa + length;
    for (let at = gpa; at < end; ) {
      const region = this.#regionAt(at);
      if (region) {
        const offset = Number(at) - region.gpa;
        const n = Math.min(region.byteLength - offset, Number(end - at));
        yield* region.pieces(offset, n);
        at += BigInt(n);
      } else {
        const next = this.#regions.find((r) => r.gpa > at);
        const gap = (next && BigInt(next.gpa) < end ? BigInt(next.gpa) : end) - at;
        const n = gap < ZEROS_BYTES ? gap : ZEROS_BYTES;
        yield Number(n);
        at += n;
      }
    }
  }

  /** A copy of [gpa, gpa + length). */
  read(gpa: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length);
    let at = 0;
    for (const piece of this.pieces(gpa, BigInt(length))) {
      if (typeof piece !== 'number') out.set(piece, at);
      at += typeof piece === 'number' ? piece : piece.length;
    }
    return out;
  }

  #regionAt(gpa: bigint): Region | undefined {
    return this.#regions.find((region) => gpa >= region.gpa && gpa < region.gpa + region.byteLength);
  }
}

/** In order of address. */
function regionsOf(ram: GuestRam, rom: Mapping): Region[] {
  const firmware: Region = {
    gpa: HOLE_END - rom.byteLength,
    byteLength: rom.byteLength,
    pieces: (offset, length) => [rom.view(offset, length)],
  };
  const slots = ram.slots.map(
    ({ gpa, byteLength, offset: start }): Region => ({
      gpa,
      byteLength,
      pieces: (offset, length) => ram.pieces(start + offset, length, PIECE_BYTES),
    }),
  );
  return [...slots, firmware].sort((a, b) => a.gpa - b.gpa);
}
