import fc from 'fast-check';
import t, { type Test } from 'tap';
import { BootError } from '../../../daemon/boot/boot_error.js';
import { loadKernel } from '../../../daemon/boot/load_kernel.js';
import { BufferMemory, DEFAULT_ENTRY, ImageDirectory, makeElf } from './images.js';

const MIB = 1024 * 1024;

function load(t: Test, image: Uint8Array, options: { initrd?: Uint8Array; cmdline?: string; ramBytes?: number } = {}) {
  const dir = new ImageDirectory();
  t.teardown(() => dir[Symbol.dispose]());
  const memory = new BufferMemory(options.ramBytes ?? 16 * MIB);
  const state = loadKernel({
    kernelPath: dir.file('vmlinux', image),
    initrdPath: options.initrd && dir.file('initrd', options.initrd),
    cmdline: options.cmdline ?? 'console=ttyS0',
    memory,
  });
  return { state, memory };
}

for (const elfClass of [32, 64] as const) {
  for (const noteAlign of [4, 8] as const) {
    t.test(
      `an ELF${elfClass} kernel with ${noteAlign}-byte notes is entered by PVH with its start info in ebx`,
      async (t) => {
        const { state, memory } = load(t, makeElf({ class: elfClass, noteAlign }), { initrd: Buffer.from('initrd!') });
        t.equal(state.format, 'pvh');
        t.equal(state.regs.rip, BigInt(DEFAULT_ENTRY));
        t.equal(state.regs.rflags, 2n);
        t.equal(state.sregs.cr0, 0x11n);
        t.equal(state.sregs.efer, 0n);
        t.match(state.sregs.cs, { base: 0n, limit: 0xffffffff, type: 0xb, s: 1, db: 1, l: 0, g: 1, present: 1 });
        t.match(state.sregs.ss, { base: 0n, limit: 0xffffffff, type: 3, s: 1, db: 1, g: 1 });
        t.match(state.sregs.tr, { base: 0n, limit: 0x67, type: 0xb, s: 0, present: 1 });

        t.ok(
          memory.read(0x100000, 0x40).every((b) => b === 0x90),
          'the segment is loaded',
        );
        t.ok(
          memory.read(0x100040, 0xc0).every((b) => b === 0),
          'its tail is zeroed',
        );
        t.equal(memory.read(0x100100, 1)[0], 0xcc, 'and nothing more');

        const info = memory.read(Number(state.regs.rbx), 56);
        t.equal(info.readUInt32LE(0), 0x336ec578, 'magic');
        t.equal(info.readUInt32LE(4), 1, 'version');
        t.equal(info.readUInt32LE(8), 0, 'flags');
        t.equal(info.readUInt32LE(12), 1, 'modules');
        const mod = memory.read(Number(info.readBigUInt64LE(16)), 32);
        t.equal(Number(mod.readBigUInt64LE(0)), 16 * MIB - 4096, 'the initrd is as high as it fits');
        t.equal(Number(mod.readBigUInt64LE(8)), 7);
        t.equal(memory.read(16 * MIB - 4096, 7).toString(), 'initrd!');
        const cmdline = Number(info.readBigUInt64LE(24));
        t.equal(memory.read(cmdline, 14).toString('latin1'), 'console=ttyS0\0');
        t.equal(info.readBigUInt64LE(32), 0n, 'no RSDP');
        const map = Number(info.readBigUInt64LE(40));
        t.equal(info.readUInt32LE(48), 5, 'memory map entries');
        t.equal(memory.read(map + 3 * 24, 24).toString('hex'), '00001000000000000000f000000000000100000000000000');
      },
    );
  }
}

t.test('without an initrd there are no modules', async (t) => {
  const { state, memory } = load(t, makeElf());
  const info = memory.read(Number(state.regs.rbx), 56);
  t.equal(info.readUInt32LE(12), 0);
  t.equal(info.readBigUInt64LE(16), 0n);
});

t.test('what a kernel must not be is refused in one sentence', async (t) => {
  const one = Buffer.alloc(16);
  const cases: [string, Buffer, RegExp][] = [
    ['no PVH note', makeElf({ entry: undefined }), /without PVH ELF note \(XEN_ELFNOTE_PHYS32_ENTRY\)/],
    [
      'an entry outside its segments',
      makeElf({ entry: 0x200000 }),
      /PVH entry point 0x200000 is in none of its segments/,
    ],
    [
      'a segment over the start info',
      makeElf({
        segments: [
          { gpa: 0x100000, bytes: one, memoryBytes: 64 },
          { gpa: 0x1ff8, bytes: one },
        ],
      }),
      /segment 1 of kernel file '.*' \(0x1ff8 to 0x2007\) overlaps with the PVH start info/,
    ],
    [
      'overlapping segments',
      makeElf({
        segments: [
          { gpa: 0x100000, bytes: one, memoryBytes: 64 },
          { gpa: 0x10003f, bytes: one },
        ],
      }),
      /overlaps with segment 0/,
    ],
    [
      'a segment in the video hole',
      makeElf({
        segments: [
          { gpa: 0x100000, bytes: one, memoryBytes: 64 },
          { gpa: 0xb8000, bytes: one },
        ],
      }),
      /does not fit into guest RAM: it needs 0xb8000 to 0xb800f, RAM is 0x0 to 0x9fbff, 0x100000 to 0xffffff/,
    ],
    [
      'a segment beyond RAM',
      makeElf({ segments: [{ gpa: 0x100000, bytes: one, memoryBytes: 16 * MIB }] }),
      /does not fit into guest RAM/,
    ],
  ];
  for (const [name, image, message] of cases) {
    t.throws(() => load(t, image), { name: 'BootError', message }, name);
  }
});

t.test('64-bit fields that would wrap around are refused', async (t) => {
  const at = 64 + 56; // the first PT_LOAD
  for (const [field, name] of [
    [8, 'p_offset'],
    [24, 'p_paddr'],
    [32, 'p_filesz'],
    [40, 'p_memsz'],
  ] as const) {
    for (const value of [0xffff_ffff_ffff_fff0n, 1n << 63n, 1n << 53n, (1n << 53n) - 1n]) {
      const image = makeElf();
      image.writeBigUInt64LE(value, at + field);
      t.throws(() => load(t, image), { name: 'BootError' }, `${name} = ${value}`);
    }
  }
});

t.test('a truncated file is refused at whatever length', async (t) => {
  const image = makeElf();
  for (let length = 0; length < image.length; length++) {
    t.throws(() => load(t, image.subarray(0, length), { ramBytes: 4 * MIB }), { name: 'BootError' }, `${length} bytes`);
  }
});

t.test('a mutated image loads inside RAM or is refused with a BootError, never anything else', async (t) => {
  const dir = new ImageDirectory();
  t.teardown(() => dir[Symbol.dispose]());
  const initrdPath = dir.file('initrd', Buffer.alloc(5000, 1));
  let loaded = 0;
  let refused = 0;
  const mutation = fc.record({
    at: fc.nat({ max: 400 }),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc.constantFrom(
        Buffer.from('ffffffffffffffff', 'hex'),
        Buffer.from('0000000000000000', 'hex'),
        Buffer.from('0000000001000000', 'hex'),
        Buffer.from('0000f00000000000', 'hex'),
      ),
    ),
  });
  fc.assert(
    fc.property(
      fc.constantFrom<32 | 64>(32, 64),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat({ max: 500 }), { freq: 5 }),
      (elfClass, mutations, cut) => {
        const image = makeElf({ class: elfClass });
        for (const { at, bytes } of mutations) {
          image.set(bytes.subarray(0, Math.max(0, image.length - at)), Math.min(at, image.length));
        }
        const memory = new BufferMemory(4 * MIB);
        try {
          loadKernel({
            kernelPath: dir.file('vmlinux', image.subarray(0, cut ?? image.length)),
            initrdPath,
            cmdline: 'x',
            memory,
          });
          loaded++;
        } catch (error) {
          if (!(error instanceof BootError)) throw error;
          refused++;
        }
        return memory.violations.length === 0 && writesAreDisjoint(memory);
      },
    ),
    { numRuns: 600 },
  );
  t.ok(loaded > 20 && refused > 20, `both happen: ${loaded} loaded, ${refused} refused`);
});

function writesAreDisjoint(memory: BufferMemory): boolean {
  const sorted = [...memory.writes].sort((a, b) => a.gpa - b.gpa);
  return sorted.every((w, i) => i === 0 || sorted[i - 1]!.gpa + sorted[i - 1]!.byteLength <= w.gpa);
}
