// System V ABI, chapters 4 and 5 (object files, program loading); https://refspecs.linuxfoundation.org/elf/gabi4+/

import { hex } from './boot_error.js';
import type { ImageFile } from './image_file.js';

const EI_CLASS = 4;
const EI_DATA = 5;
const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;

/** Kernels have about ten program headers and less than 1 KiB of notes. */
const MAX_PROGRAM_HEADERS = 256;
const MAX_NOTE_BYTES = 1 << 20;

/** A PT_LOAD: `fileBytes` bytes at `fileOffset` go to guest-physical `gpa`, zeros follow up to `memoryBytes`. */
export interface ElfSegment {
  readonly fileOffset: number;
  readonly fileBytes: number;
  readonly gpa: number;
  readonly memoryBytes: number;
}

/** What a loader needs of an executable. Nothing in it is checked against RAM yet. */
export interface ElfImage {
  readonly segments: readonly ElfSegment[];
  /** Finds a note by owner and type; its descriptor's bytes, or undefined. */
  note(owner: string, type: number): DataView | undefined;
}

interface ProgramHeader extends ElfSegment {
  readonly type: number;
  readonly align: number;
}

/** True if a file that begins with these bytes (at least four) is ELF. */
export function isElf(head: DataView): boolean {
  return head.byteLength >= 4 && head.getUint32(0, false) === 0x7f454c46;
}

/** Reads headers and notes of a little-endian x86 ELF file of either class. Throws BootError. */
export function readElf(file: ImageFile): ElfImage {
  const ident = file.read('ELF header', 0, 16);
  const elfClass = ident.getUint8(EI_CLASS);
  if (elfClass !== ELFCLASS32 && elfClass !== ELFCLASS64) {
    throw file.error(`its ELF class ${elfClass} is neither 32-bit nor 64-bit`);
  }
  if (ident.getUint8(EI_DATA) !== ELFDATA2LSB) {
    throw file.error('it is a big-endian ELF file');
  }
  const is64 = elfClass === ELFCLASS64;
  const header = file.read('ELF header', 0, is64 ? 64 : 52);
  const type = header.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) {
    throw file.error(`its ELF type ${type} is not an executable`);
  }
  const machine = header.getUint16(18, true);
  if (machine !== EM_X86_64 && (is64 || machine !== EM_386)) {
    throw file.error(`its ELF machine ${machine} is not x86`);
  }
  const headers = readProgramHeaders(file, header, is64);
  return {
    segments: headers.filter((h) => h.type === PT_LOAD && h.memoryBytes > 0),
    note: (owner, noteType) => findNote(file, headers, owner, noteType),
  };
}

function readProgramHeaders(file: ImageFile, header: DataView, is64: boolean): ProgramHeader[] {
  const offset = is64
    ? address(file, 'program header offset', header.getBigUint64(32, true))
    : header.getUint32(28, true);
  const entryBytes = header.getUint16(is64 ? 54 : 42, true);
  const count = header.getUint16(is64 ? 56 : 44, true);
  const expected = is64 ? 56 : 32;
  if (count === 0 || count > MAX_PROGRAM_HEADERS) {
    throw file.error(`its number of ELF program headers, ${count}, is not within 1 and ${MAX_PROGRAM_HEADERS}`);
  }
  if (entryBytes !== expected) {
    throw file.error(`its ELF program headers are ${entryBytes} bytes each instead of ${expected}`);
  }
  const table = file.read('ELF program header table', offset, count * expected);
  return Array.from({ length: count }, (_, i) => readProgramHeader(file, table, i, is64));
}

function readProgramHeader(file: ImageFile, table: DataView, index: number, is64: boolean): ProgramHeader {
  const at = index * (is64 ? 56 : 32);
  const type = table.getUint32(at, true);
  if (type !== PT_LOAD && type !== PT_NOTE) {
    return { type, fileOffset: 0, fileBytes: 0, gpa: 0, memoryBytes: 0, align: 0 };
  }
  const field = (name: string, at32: number, at64: number): number =>
    is64
      ? address(file, `${name} of program header ${index}`, table.getBigUint64(at + at64, true))
      : table.getUint32(at + at32, true);
  const result = {
    type,
    fileOffset: field('p_offset', 4, 8),
    gpa: type === PT_LOAD ? field('p_paddr', 12, 24) : 0,
    fileBytes: field('p_filesz', 16, 32),
    memoryBytes: type === PT_LOAD ? field('p_memsz', 20, 40) : 0,
    align: field('p_align', 28, 48),
  };
  if (type === PT_LOAD && result.fileBytes > result.memoryBytes) {
    throw file.error(
      `its ELF segment ${index} has more bytes in the file (${hex(result.fileBytes)}) than in memory (${hex(result.memoryBytes)})`,
    );
  }
  if (type === PT_LOAD) {
    file.check(`ELF segment ${index}`, result.fileOffset, result.fileBytes);
  }
  return result;
}

/** A 64-bit field as a number. Nothing beyond 2^53 can be an offset or an address that exists. */
function address(file: ImageFile, what: string, value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw file.error(`its ${what}, ${hex(value)}, is out of range`);
  }
  return Number(value);
}

function findNote(
  file: ImageFile,
  headers: readonly ProgramHeader[],
  owner: string,
  type: number,
): DataView | undefined {
  for (const header of headers) {
    if (header.type !== PT_NOTE) {
      continue;
    }
    if (header.fileBytes > MAX_NOTE_BYTES) {
      throw file.error(`its ELF notes are ${header.fileBytes} bytes long, more than ${MAX_NOTE_BYTES}`);
    }
    const notes = file.read('ELF notes', header.fileOffset, header.fileBytes);
    // gABI, "Note Section"; segments that ask for 8-byte alignment pad name and descriptor to 8 as binutils does.
    const found = scanNotes(notes, header.align === 8 ? 8 : 4, owner, type);
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

function scanNotes(notes: DataView, align: number, owner: string, type: number): DataView | undefined {
  const padded = (n: number): number => Math.ceil(n / align) * align;
  const wanted = `${owner}\0`;
  for (let at = 0; at + 12 <= notes.byteLength; ) {
    const nameBytes = notes.getUint32(at, true);
    const descriptorBytes = notes.getUint32(at + 4, true);
    const descriptor = at + padded(12 + nameBytes);
    if (descriptor + descriptorBytes > notes.byteLength) {
      return undefined;
    }
    const matches =
      notes.getUint32(at + 8, true) === type &&
      nameBytes === wanted.length &&
      [...wanted].every((c, i) => notes.getUint8(at + 12 + i) === c.charCodeAt(0));
    if (matches) {
      return new DataView(notes.buffer, notes.byteOffset + descriptor, descriptorBytes);
    }
    at = padded(descriptor + descriptorBytes);
  }
  return undefined;
}
