/**
 * The layout of an ELF core of a guest, as QEMU's dump-guest-memory writes it (dump/dump.c): header, section headers, program headers, notes, memory, and the
 * sections' names. Readers: crash(8), gdb, elf2dmp.
 */

const ET_CORE = 4;
export const EM_386 = 3;
export const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const SHT_STRTAB = 3;
/** e_phnum of a file with more program headers than fit there: sh_info of section 0 has the number. */
const PN_XNUM = 0xffff;
const EHDR_BYTES = 64;
const PHDR_BYTES = 56;
const SHDR_BYTES = 64;
/** The null section, and the names. */
const SECTIONS = 2;
const NAMES = Buffer.from('\0.shstrtab\0');
const SHSTRTAB_NAME = 1;

/** A part of guest memory with one virtual address; `offset` counts from the first byte of memory in the file. */
export interface LoadSegment {
  readonly offset: number;
  readonly gpa: bigint;
  readonly virtual: bigint;
  readonly byteLength: number;
}

/** What precedes memory in the file, and what follows it. */
export interface CoreFrame {
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
}

/** @param memoryBytes how much memory is in the file between head and tail */
export function coreFrame(
  machine: number,
  notes: Uint8Array,
  loads: readonly LoadSegment[],
  memoryBytes: number,
): CoreFrame {
  const phnum = 1 + loads.length;
  const phoff = EHDR_BYTES + SECTIONS * SHDR_BYTES;
  const notesAt = phoff + phnum * PHDR_BYTES;
  const head = Buffer.alloc(notesAt + notes.length);
  const memoryAt = head.length;
  writeHeader(head, machine, phoff, phnum);
  if (phnum >= PN_XNUM) head.writeUInt32LE(phnum, EHDR_BYTES + 44);
  writeNames(head, memoryAt + memoryBytes);
  writeSegment(head, phoff, PT_NOTE, { offset: notesAt, gpa: 0n, virtual: 0n, byteLength: notes.length });
  for (const [i, load] of loads.entries()) {
    writeSegment(head, phoff + (i + 1) * PHDR_BYTES, PT_LOAD, { ...load, offset: memoryAt + load.offset });
  }
  head.set(notes, notesAt);
  return { head, tail: NAMES };
}

function writeHeader(out: Buffer, machine: number, phoff: number, phnum: number): void {
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // 64 bits, little endian, version 1
  out.writeUInt16LE(ET_CORE, 16);
  out.writeUInt16LE(machine, 18);
  out.writeUInt32LE(1, 20);
  out.writeBigUInt64LE(BigInt(phoff), 32);
  out.writeBigUInt64LE(BigInt(EHDR_BYTES), 40);
  out.writeUInt16LE(EHDR_BYTES, 52);
  out.writeUInt16LE(PHDR_BYTES, 54);
  out.writeUInt16LE(Math.min(phnum, PN_XNUM), 56);
  out.writeUInt16LE(SHDR_BYTES, 58);
  out.writeUInt16LE(SECTIONS, 60);
  out.writeUInt16LE(SECTIONS - 1, 62);
}

function writeNames(out: Buffer, offset: number): void {
  const at = EHDR_BYTES + SHDR_BYTES;
  out.writeUInt32LE(SHSTRTAB_NAME, at);
  out.writeUInt32LE(SHT_STRTAB, at + 4);
  out.writeBigUInt64LE(BigInt(offset), at + 24);
  out.writeBigUInt64LE(BigInt(NAMES.length), at + 32);
}

function writeSegment(out: Buffer, at: number, type: number, { offset, gpa, virtual, byteLength }: LoadSegment): void {
  out.writeUInt32LE(type, at);
  out.writeBigUInt64LE(BigInt(offset), at + 8);
  out.writeBigUInt64LE(BigInt.asUintN(64, virtual), at + 16);
  out.writeBigUInt64LE(gpa, at + 24);
  out.writeBigUInt64LE(BigInt(byteLength), at + 32);
  out.writeBigUInt64LE(BigInt(byteLength), at + 40);
}
