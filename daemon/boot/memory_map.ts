import { HOLE_END, HOLE_START } from '../../kvm/guest_ram.js';
import { KVM_PRIVATE_BYTES, KVM_PRIVATE_START } from '../../kvm/vm.js';

// The guest-physical address space of the machine: where RAM is, what else a PC keeps below 4 GiB, and
// where the loaders put what they hand to a kernel.

const KIB = 1024;
const MIB = 1024 * KIB;

/** RAM below 4 GiB ends here at the latest; device windows and the APICs live between this and 4 GiB. */
export const RAM_HOLE_START = HOLE_START;
/** RAM that does not fit below the hole goes on here. */
export const HIGH_RAM_START = HOLE_END;

/** A range of guest-physical addresses, in bytes. */
export interface GpaRange {
  readonly start: number;
  readonly byteLength: number;
}

/**
 * Where `ramBytes` of guest RAM appear: below 3 GiB first, what is left from 4 GiB up.
 * The backing is contiguous: the second region continues the bytes of the first.
 */
export function ramRegions(ramBytes: number): GpaRange[] {
  const low = Math.min(ramBytes, RAM_HOLE_START);
  const regions = [{ start: 0, byteLength: low }];
  if (ramBytes > low) {
    regions.push({ start: HIGH_RAM_START, byteLength: ramBytes - low });
  }
  return regions;
}

/** Types of an e820 entry, the same in `hvm_memmap_table_entry` (arch/x86/include/asm/e820/types.h). */
export const E820_RAM = 1;
export const E820_RESERVED = 2;

/** One entry of the memory map a kernel is given: bytes, inclusive start. */
export interface E820Entry {
  readonly start: number;
  readonly byteLength: number;
  readonly type: typeof E820_RAM | typeof E820_RESERVED;
}

/** The extended BIOS data area of a PC takes the last KiB of the 640 KiB of base memory. */
const EBDA_START = 0x9fc00;
const BASE_MEMORY_END = 0xa0000;
const BIOS_START = 0xf0000;
const EXTENDED_MEMORY_START = 1 * MIB;

/** The memory map of a machine with `ramBytes` of RAM, sorted, with the holes that a PC has. */
export function e820(ramBytes: number): E820Entry[] {
  const entries: E820Entry[] = [];
  const add = (start: number, end: number, type: E820Entry['type']): void => {
    if (end > start) {
      entries.push({ start, byteLength: end - start, type });
    }
  };
  const lowEnd = Math.min(ramBytes, RAM_HOLE_START);
  add(0, Math.min(lowEnd, EBDA_START), E820_RAM);
  add(EBDA_START, BASE_MEMORY_END, E820_RESERVED);
  add(BIOS_START, EXTENDED_MEMORY_START, E820_RESERVED);
  add(EXTENDED_MEMORY_START, lowEnd, E820_RAM);
  add(KVM_PRIVATE_START, KVM_PRIVATE_START + KVM_PRIVATE_BYTES, E820_RESERVED);
  if (ramBytes > RAM_HOLE_START) {
    add(HIGH_RAM_START, HIGH_RAM_START + ramBytes - RAM_HOLE_START, E820_RAM);
  }
  return entries;
}

/** Smallest RAM that leaves room for the tables below and a kernel above 1 MiB. */
export const MIN_RAM_BYTES = 2 * MIB;

// What the loaders write besides the images, all in base memory. Kernels use it before they have an allocator
// of their own, so none of it may overlap an image.
export const GDT_ADDRESS = 0x1000;
export const START_INFO_ADDRESS = 0x2000;
export const MODLIST_ADDRESS = 0x2040;
export const MEMMAP_ADDRESS = 0x3000;
export const ZERO_PAGE_ADDRESS = 0x7000;
/** PML4, PDPT, then four page directories: 4 GiB in 2 MiB pages. */
export const PAGE_TABLES_ADDRESS = 0x9000;
export const PAGE_TABLES_BYTES = 6 * 0x1000;
export const CMDLINE_ADDRESS = 0x20000;
/** Room for a command line, its terminating NUL included. */
export const CMDLINE_MAX_BYTES = 0x10000;
