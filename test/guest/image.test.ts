import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { patternOrigin, patternWord } from './pattern.js';
import { GUEST_DIR, GUEST_IMAGE } from './qemu.js';

const MIB = 1 << 20;

function noBinutils(): string | false {
  try {
    execFileSync('as', ['--version'], { stdio: 'ignore' });
    execFileSync('ld', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'binutils is not installed';
  }
}

t.test('the committed image is what its sources give, byte by byte', { skip: noBinutils() }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmguest-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  execFileSync(join(GUEST_DIR, 'build.sh'), [join(dir, 'fresh.elf')]);
  t.ok(
    readFileSync(join(dir, 'fresh.elf')).equals(readFileSync(GUEST_IMAGE)),
    'run guest/build.sh and commit the image',
  );
});

t.test('the image is an ELF that a simple PVH loader can load', async (t) => {
  const elf = readFileSync(GUEST_IMAGE);
  t.equal(elf.subarray(0, 6).toString('latin1'), '\x7fELF\x02\x01', 'ELF, 64-bit, little endian');
  t.equal(elf.readUInt16LE(16), 2, 'ET_EXEC');
  t.equal(elf.readUInt16LE(18), 62, 'EM_X86_64');
  const phoff = Number(elf.readBigUInt64LE(32));
  const loads: { start: number; end: number }[] = [];
  let note: Buffer | undefined;
  for (let i = 0; i < elf.readUInt16LE(56); i++) {
    const ph = elf.subarray(phoff + i * 56, phoff + (i + 1) * 56);
    const [offset, vaddr, paddr, filesz, memsz] = [8, 16, 24, 32, 40].map((at) => Number(ph.readBigUInt64LE(at)));
    t.ok(offset! + filesz! <= elf.length, 'a segment lies inside the file');
    if (ph.readUInt32LE(0) === 1) {
      t.equal(vaddr, paddr, 'virtual = physical');
      t.ok(filesz! <= memsz!, 'no more in the file than in memory');
      loads.push({ start: paddr!, end: paddr! + memsz! });
    } else if (ph.readUInt32LE(0) === 4) {
      note = elf.subarray(offset!, offset! + filesz!);
    }
  }
  t.ok(
    loads.every((s) => s.start >= MIB && s.end <= 2 * MIB),
    'all is loaded between 1 and 2 MiB',
  );
  t.equal(note?.readUInt32LE(0), 4, 'note: name size');
  t.equal(note?.readUInt32LE(4), 8, 'note: descriptor size');
  t.equal(note?.readUInt32LE(8), 18, 'note: XEN_ELFNOTE_PHYS32_ENTRY');
  t.equal(note?.toString('latin1', 12, 16), 'Xen\0', 'note: name');
  const entry = Number(note?.readBigUInt64LE(16));
  t.equal(entry, Number(elf.readBigUInt64LE(24)), 'the note and the ELF header enter at one place');
  t.ok(
    loads.some((s) => entry >= s.start && entry < s.end),
    'the entry is loaded',
  );
});

t.test('a word of the pattern tells its page and generation', async (t) => {
  const u32 = fc.nat({ max: 0xffffffff });
  const told = fc.property(u32, u32, fc.nat({ max: 511 }), (pfn, generation, i) => {
    const origin = patternOrigin(patternWord(pfn, generation, i), i);
    return origin.pfn === pfn && origin.generation === generation;
  });
  t.doesNotThrow(() => fc.assert(told));
});
