// Xen's PVH boot protocol: docs/misc/pvh.pandoc, xen/include/public/arch-x86/hvm/start_info.h, xen/include/public/elfnote.h

import { BootError, hex } from './boot_error.js';
import { type BootMemory, RamClaims } from './boot_memory.js';
import { type BootState, bootGdt, GDT_BYTES, protectedModeSregs, RFLAGS_INITIAL } from './boot_state.js';
import { readElf } from './elf.js';
import type { ImageFile } from './image_file.js';
import {
  CMDLINE_ADDRESS,
  CMDLINE_MAX_BYTES,
  e820,
  GDT_ADDRESS,
  MEMMAP_ADDRESS,
  MODLIST_ADDRESS,
  RAM_HOLE_START,
  START_INFO_ADDRESS,
} from './memory_map.js';

const XEN_ELFNOTE_PHYS32_ENTRY = 18;

const XEN_HVM_START_MAGIC_VALUE = 0x336ec578;
/** struct hvm_start_info with the members of version 1. */
const START_INFO_BYTES = 56;
const START_INFO_VERSION = 1;
/** struct hvm_modlist_entry. */
const MODLIST_ENTRY_BYTES = 32;
/** struct hvm_memmap_table_entry. */
const MEMMAP_ENTRY_BYTES = 24;

const LOWEST_INITRD = 0x100000;

/** Guest-physical entry point from the note; 4 bytes in 32-bit kernels, 8 in 64-bit ones. */
function entryPoint(file: ImageFile, descriptor: DataView | undefined): number {
  if (descriptor === undefined) {
    throw file.error('it is an uncompressed kernel without PVH ELF note (XEN_ELFNOTE_PHYS32_ENTRY)');
  }
  if (descriptor.byteLength !== 4 && descriptor.byteLength !== 8) {
    throw file.error(`its PVH ELF note holds ${descriptor.byteLength} bytes instead of 4 or 8`);
  }
  const entry = descriptor.byteLength === 4 ? BigInt(descriptor.getUint32(0, true)) : descriptor.getBigUint64(0, true);
  if (entry > 0xffff_ffffn) {
    throw file.error(`its PVH entry point ${hex(entry)} is above 4 GiB`);
  }
  return Number(entry);
}

/**
 * Puts an ELF kernel, its initrd and its hvm_start_info into guest RAM. `cmdline` is NUL-terminated.
 * Throws BootError; RAM may then hold parts of the images.
 */
export function loadPvh(
  kernel: ImageFile,
  initrd: ImageFile | undefined,
  cmdline: Uint8Array,
  memory: BootMemory,
): BootState {
  const elf = readElf(kernel);
  const entry = entryPoint(kernel, elf.note('Xen', XEN_ELFNOTE_PHYS32_ENTRY));
  if (!elf.segments.some((s) => entry >= s.gpa && entry < s.gpa + s.memoryBytes)) {
    throw kernel.error(`its PVH entry point ${hex(entry)} is in none of its segments`);
  }
  if (cmdline.byteLength > CMDLINE_MAX_BYTES) {
    throw new BootError(
      `the kernel command line is too long: ${cmdline.byteLength - 1} bytes, at most ${CMDLINE_MAX_BYTES - 1}`,
    );
  }

  const map = e820(memory.ramBytes);
  const claims = new RamClaims(memory.ramBytes);
  claims.claim('the boot GDT', GDT_ADDRESS, GDT_BYTES);
  claims.claim('the PVH start info', START_INFO_ADDRESS, MODLIST_ADDRESS + MODLIST_ENTRY_BYTES - START_INFO_ADDRESS);
  claims.claim('the memory map', MEMMAP_ADDRESS, map.length * MEMMAP_ENTRY_BYTES);
  claims.claim('the kernel command line', CMDLINE_ADDRESS, cmdline.byteLength);
  for (const [i, segment] of elf.segments.entries()) {
    claims.claim(`segment ${i} of ${kernel.what}`, segment.gpa, segment.memoryBytes);
  }
  // Xen places everything below 4 GiB; so a kernel may rely on it before it has page tables of its own.
  const initrdAddress =
    initrd === undefined ? 0 : claims.claimHighest(initrd.what, initrd.byteLength, LOWEST_INITRD, RAM_HOLE_START);

  for (const [i, s] of elf.segments.entries()) {
    kernel.loadInto(memory, `ELF segment ${i}`, s.fileOffset, s.gpa, s.fileBytes);
    if (s.memoryBytes > s.fileBytes) {
      memory.zero(s.gpa + s.fileBytes, s.memoryBytes - s.fileBytes);
    }
  }
  initrd?.loadInto(memory, 'contents', 0, initrdAddress, initrd.byteLength);
  memory.write(CMDLINE_ADDRESS, cmdline);
  memory.write(GDT_ADDRESS, bootGdt(32));

  const memmap = new DataView(new ArrayBuffer(map.length * MEMMAP_ENTRY_BYTES));
  for (const [i, range] of map.entries()) {
    memmap.setBigUint64(i * MEMMAP_ENTRY_BYTES, BigInt(range.start), true);
    memmap.setBigUint64(i * MEMMAP_ENTRY_BYTES + 8, BigInt(range.byteLength), true);
    memmap.setUint32(i * MEMMAP_ENTRY_BYTES + 16, range.type, true);
  }
  memory.write(MEMMAP_ADDRESS, new Uint8Array(memmap.buffer));

  const modlist = new DataView(new ArrayBuffer(MODLIST_ENTRY_BYTES));
  modlist.setBigUint64(0, BigInt(initrdAddress), true);
  modlist.setBigUint64(8, BigInt(initrd?.byteLength ?? 0), true);
  memory.write(MODLIST_ADDRESS, new Uint8Array(modlist.buffer));

  const info = new DataView(new ArrayBuffer(START_INFO_BYTES));
  info.setUint32(0, XEN_HVM_START_MAGIC_VALUE, true);
  info.setUint32(4, START_INFO_VERSION, true);
  info.setUint32(12, initrd === undefined ? 0 : 1, true); // nr_modules
  info.setBigUint64(16, initrd === undefined ? 0n : BigInt(MODLIST_ADDRESS), true); // modlist_paddr
  info.setBigUint64(24, BigInt(CMDLINE_ADDRESS), true); // cmdline_paddr
  info.setBigUint64(40, BigInt(MEMMAP_ADDRESS), true); // memmap_paddr
  info.setUint32(48, map.length, true); // memmap_entries
  memory.write(START_INFO_ADDRESS, new Uint8Array(info.buffer));

  return {
    format: 'pvh',
    regs: { rip: BigInt(entry), rbx: BigInt(START_INFO_ADDRESS), rflags: RFLAGS_INITIAL },
    sregs: protectedModeSregs(),
  };
}
