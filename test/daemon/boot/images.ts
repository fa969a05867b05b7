// Guest RAM over buffers and small images made by code, for the tests of the boot loaders.

import { mkdtempSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BootMemory } from '../../../daemon/boot/boot_memory.js';
import { ramRegions } from '../../../daemon/boot/memory_map.js';

/** Guest RAM in one buffer. A write outside RAM is recorded and throws, so that no test can miss it. */
export class BufferMemory implements BootMemory {
  readonly ramBytes: number;
  readonly bytes: Buffer;
  readonly violations: string[] = [];
  /** Every range written, in order. */
  readonly writes: { gpa: number; byteLength: number }[] = [];

  constructor(ramBytes: number) {
    this.ramBytes = ramBytes;
    this.bytes = Buffer.alloc(ramBytes, 0xcc);
  }

  #slice(gpa: number, byteLength: number): Buffer {
    let base = 0;
    for (const region of ramRegions(this.ramBytes)) {
      if (gpa >= region.start && byteLength >= 0 && gpa + byteLength <= region.start + region.byteLength) {
        this.writes.push({ gpa, byteLength });
        return this.bytes.subarray(base + gpa - region.start, base + gpa - region.start + byteLength);
      }
      base += region.byteLength;
    }
    this.violations.push(`${byteLength} bytes at ${gpa}`);
    throw new Error(`outside RAM: ${byteLength} bytes at ${gpa}`);
  }

  write(gpa: number, bytes: Uint8Array): void {
    this.#slice(gpa, bytes.byteLength).set(bytes);
  }

  loadFile(fd: number, fileOffset: number, gpa: number, byteLength: number): void {
    const target = this.#slice(gpa, byteLength);
    const n = readSync(fd, target, 0, byteLength, fileOffset);
    if (n !== byteLength) {
      throw new Error(`short read: ${n} of ${byteLength}`);
    }
  }

  zero(gpa: number, byteLength: number): void {
    this.#slice(gpa, byteLength).fill(0);
  }

  read(gpa: number, byteLength: number): Buffer {
    return this.bytes.subarray(gpa, gpa + byteLength);
  }
}

export interface ElfSegmentSpec {
  gpa: number;
  bytes: Uint8Array;
  memoryBytes?: number;
}

export interface ElfSpec {
  class?: 32 | 64;
  segments?: ElfSegmentSpec[];
  /** PVH entry point; undefined leaves the note out. */
  entry?: number | undefined;
  noteAlign?: 4 | 8;
}

function elfNote(owner: string, type: number, descriptor: Uint8Array, align: number): Buffer {
  const padded = (n: number): number => Math.ceil(n / align) * align;
  const at = padded(12 + owner.length + 1);
  const note = Buffer.alloc(padded(at + descriptor.length));
  note.writeUInt32LE(owner.length + 1, 0);
  note.writeUInt32LE(descriptor.length, 4);
  note.writeUInt32LE(type, 8);
  note.write(owner, 12, 'latin1');
  note.set(descriptor, at);
  return note;
}

export const DEFAULT_ENTRY = 0x100010;

/** A PVH kernel: an ELF header, program headers, the notes, then the segments' bytes. */
export function makeElf(spec: ElfSpec = {}): Buffer {
  const is64 = (spec.class ?? 64) === 64;
  const segments = spec.segments ?? [{ gpa: 0x100000, bytes: Buffer.alloc(0x40, 0x90), memoryBytes: 0x100 }];
  const entry = 'entry' in spec ? spec.entry : DEFAULT_ENTRY;
  const align = spec.noteAlign ?? 4;
  const descriptor = Buffer.alloc(is64 ? 8 : 4);
  descriptor.writeUInt32LE(entry ?? 0, 0);
  const notes =
    entry === undefined
      ? elfNote('GNU', 18, Buffer.alloc(4), align)
      : Buffer.concat([
          elfNote('GNU', 18, Buffer.alloc(16), align),
          elfNote('Xen', 6, Buffer.from('linux'), align),
          elfNote('Xen', 18, descriptor, align),
        ]);
  const headerBytes = is64 ? 64 : 52;
  const entryBytes = is64 ? 56 : 32;
  const header = Buffer.alloc(headerBytes);
  header.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, 1, 1]);
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(is64 ? 62 : 3, 18);
  if (is64) {
    header.writeBigUInt64LE(64n, 32);
  } else {
    header.writeUInt32LE(52, 28);
  }
  header.writeUInt16LE(entryBytes, is64 ? 54 : 42);
  header.writeUInt16LE(segments.length + 1, is64 ? 56 : 44);

  const table = Buffer.alloc(entryBytes * (segments.length + 1));
  let fileOffset = headerBytes + table.length;
  const programHeader = (i: number, type: number, gpa: number, fileBytes: number, memoryBytes: number): void => {
    const at = i * entryBytes;
    table.writeUInt32LE(type, at);
    const fields = is64 ? [8, 24, 32, 40, 48] : [4, 12, 16, 20, 28];
    const values = [fileOffset, gpa, fileBytes, memoryBytes, align];
    for (const [k, field] of fields.entries()) {
      if (is64) {
        table.writeBigUInt64LE(BigInt(values[k]!), at + field);
      } else {
        table.writeUInt32LE(values[k]!, at + field);
      }
    }
    fileOffset += fileBytes;
  };
  programHeader(0, 4, 0, notes.length, notes.length);
  for (const [i, s] of segments.entries()) {
    programHeader(i + 1, 1, s.gpa, s.bytes.length, s.memoryBytes ?? s.bytes.length);
  }
  return Buffer.concat([header, table, notes, ...segments.map((s) => s.bytes)]);
}

/** Offsets of the fields of a setup header that tests alter. */
export const SETUP = {
  sects: 0x1f1,
  syssize: 0x1f4,
  bootFlag: 0x1fe,
  jump: 0x201,
  magic: 0x202,
  version: 0x206,
  loadflags: 0x211,
  initrdAddrMax: 0x22c,
  kernelAlignment: 0x230,
  xloadflags: 0x236,
  cmdlineSize: 0x238,
  setupData: 0x250,
  prefAddress: 0x258,
  initSize: 0x260,
};

/** A bzImage of one setup sector and 1 KiB of code (0xf4), preferring 2 MiB and needing 64 KiB there. */
export function makeBzImage(alter: (image: Buffer) => void = () => {}): Buffer {
  const setup = Buffer.alloc(1024);
  setup.writeUInt8(1, SETUP.sects);
  setup.writeUInt32LE(1024 / 16, SETUP.syssize);
  setup.writeUInt16LE(0xaa55, SETUP.bootFlag);
  setup.writeUInt8(0xeb, 0x200);
  setup.writeUInt8(0x6a, SETUP.jump);
  setup.write('HdrS', SETUP.magic, 'latin1');
  setup.writeUInt16LE(0x20f, SETUP.version);
  setup.writeUInt8(1, SETUP.loadflags);
  setup.writeUInt32LE(0x7fffffff, SETUP.initrdAddrMax);
  setup.writeUInt32LE(0x200000, SETUP.kernelAlignment);
  setup.writeUInt16LE(0x7f, SETUP.xloadflags);
  setup.writeUInt32LE(2047, SETUP.cmdlineSize);
  setup.writeBigUInt64LE(0xdeadbeefn, SETUP.setupData);
  setup.writeBigUInt64LE(0x200000n, SETUP.prefAddress);
  setup.writeUInt32LE(0x10000, SETUP.initSize);
  const image = Buffer.concat([setup, Buffer.alloc(1024, 0xf4)]);
  alter(image);
  return image;
}

/** A directory for images that goes with the test. */
export class ImageDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'vmhostd-boot-'));

  file(name: string, bytes: Uint8Array): string {
    const path = join(this.path, name);
    writeFileSync(path, bytes);
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
