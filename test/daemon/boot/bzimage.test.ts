import fc from 'fast-check';
import t, { type Test } from 'tap';
import { BootError } from '../../../daemon/boot/boot_error.js';
import { loadKernel } from '../../../daemon/boot/load_kernel.js';
import { BufferMemory, ImageDirectory, makeBzImage, SETUP } from './images.js';

const MIB = 1024 * 1024;

function load(t: Test, image: Uint8Array, options: { initrd?: Uint8Array; cmdline?: string; ramBytes?: number } = {}) {
  const dir = new ImageDirectory();
  t.teardown(() => dir[Symbol.dispose]());
  const memory = new BufferMemory(options.ramBytes ?? 16 * MIB);
  const state = loadKernel({
    kernelPath: dir.file('vmlinuz', image),
    initrdPath: options.initrd && dir.file('initrd', options.initrd),
    cmdline: options.cmdline ?? 'console=ttyS0 quiet',
    memory,
  });
  return { state, memory };
}

t.test('a bzImage is entered in 64-bit mode at its load address + 0x200 with the zero page in rsi', async (t) => {
  const { state, memory } = load(t, makeBzImage(), { initrd: Buffer.alloc(4097, 7) });
  t.equal(state.format, 'bzimage');
  t.equal(state.regs.rip, 0x200200n);
  t.equal(state.regs.rflags, 2n);
  t.match(state.sregs, { cr0: 0x80000011n, cr4: 0x20n, efer: 0x500n, cr3: 0x9000n, gdt: { base: 0x1000n, limit: 47 } });
  t.match(state.sregs.cs, { selector: 0x10, type: 0xb, l: 1, db: 0, g: 1, s: 1, limit: 0xffffffff });
  t.match(state.sregs.ds, { selector: 0x18, type: 3, db: 1 });
  t.ok(
    memory.read(0x200000, 1024).every((b) => b === 0xf4),
    'the protected-mode code is loaded',
  );

  const page = memory.read(Number(state.regs.rsi), 4096);
  t.equal(page.readUInt8(0x1ef), 0, 'sentinel');
  t.equal(page.readUInt8(0x210), 0xff, 'type_of_loader');
  t.equal(page.readUInt16LE(0x1fa), 0xffff, 'vid_mode');
  t.equal(page.toString('latin1', 0x202, 0x206), 'HdrS', 'the setup header is copied');
  t.equal(page.readUInt32LE(0x214), 0x200000, 'code32_start');
  t.equal(page.readUInt32LE(0x218), 16 * MIB - 8192, 'ramdisk_image');
  t.equal(page.readUInt32LE(0x21c), 4097, 'ramdisk_size');
  t.ok(
    memory.read(16 * MIB - 8192, 4097).every((b) => b === 7),
    'the initrd is there',
  );
  t.equal(page.readBigUInt64LE(SETUP.setupData), 0n, 'setup_data of the image is not passed on');
  const cmdline = page.readUInt32LE(0x228);
  t.equal(memory.read(cmdline, 20).toString('latin1'), 'console=ttyS0 quiet\0');
  t.equal(page.readUInt8(0x1e8), 5, 'e820 entries');
  t.equal(page.toString('hex', 0x2d0, 0x2d0 + 20), '000000000000000000fc09000000000001000000');
  t.equal(page.toString('hex', 0x2d0 + 60, 0x2d0 + 80), '00001000000000000000f0000000000001000000');
  t.ok(
    page.subarray(0x2d0 + 100).every((b) => b === 0),
    'the rest is zero',
  );
});

t.test('the initrd stays below initrd_addr_max', async (t) => {
  const image = makeBzImage((i) => i.writeUInt32LE(0x7fffff, SETUP.initrdAddrMax));
  const { state, memory } = load(t, image, { initrd: Buffer.alloc(100) });
  t.equal(memory.read(Number(state.regs.rsi), 4096).readUInt32LE(0x218), 0x7ff000);
});

t.test('the initrd is placed below the kernel where there is no room above', async (t) => {
  const image = makeBzImage((i) => i.writeUInt32LE(2 * MIB, SETUP.initSize));
  const { state, memory } = load(t, image, { initrd: Buffer.alloc(MIB), ramBytes: 4 * MIB });
  t.equal(memory.read(Number(state.regs.rsi), 4096).readUInt32LE(0x218), MIB);
});

t.test('setup_sects 0 stands for 4', async (t) => {
  const image = Buffer.concat([makeBzImage((i) => i.writeUInt8(0, SETUP.sects)), Buffer.alloc(2048, 0xf5)]);
  const { memory } = load(t, image);
  t.ok(memory.read(0x200000, 1024).every((b) => b === 0xf5));
});

t.test('what a bzImage must not be is refused in one sentence', async (t) => {
  const cases: [(image: Buffer) => void, RegExp][] = [
    [(i) => i.writeUInt16LE(0xaa54, SETUP.bootFlag), /boot flag is 0xaa54/],
    [(i) => i.write('HdrT', SETUP.magic), /neither an ELF file nor a Linux bzImage/],
    [(i) => i.writeUInt16LE(0x20b, SETUP.version), /boot protocol 2\.11 is older than 2\.12/],
    [(i) => i.writeUInt8(0, SETUP.loadflags), /it is a zImage/],
    [(i) => i.writeUInt16LE(0x7e, SETUP.xloadflags), /no 64-bit entry point \(XLF_KERNEL_64\)/],
    [(i) => i.writeUInt8(0x10, SETUP.jump), /setup header ends at 0x212/],
    [(i) => i.writeUInt8(0xff, SETUP.jump), /setup header ends at 0x301/],
    [(i) => i.writeUInt8(255, SETUP.sects), /protected-mode code \(1024 bytes at 131072\) goes beyond its end at 2048/],
    [(i) => i.writeUInt32LE(0xffffffff, SETUP.syssize), /protected-mode code .* goes beyond its end/],
    [(i) => i.writeUInt32LE(32, SETUP.syssize), /512 bytes is too short/],
    [(i) => i.writeBigUInt64LE(0n, SETUP.prefAddress), /preferred address 0x0 is not between 1 MiB and 3 GiB/],
    [(i) => i.writeBigUInt64LE((1n << 64n) - 1n, SETUP.prefAddress), /preferred address 0xffffffffffffffff/],
    [(i) => i.writeBigUInt64LE(0x300000n, SETUP.prefAddress), /not a multiple of its alignment 0x200000/],
    [(i) => i.writeUInt32LE(0, SETUP.kernelAlignment), /alignment 0x0/],
    [(i) => i.writeUInt32LE(0x300, SETUP.kernelAlignment), /alignment 0x300/],
    [
      (i) => i.writeUInt32LE(0xffffffff, SETUP.initSize),
      /does not fit into guest RAM: it needs 0x200000 to 0x1001ffffe/,
    ],
  ];
  for (const [alter, message] of cases) {
    t.throws(() => load(t, makeBzImage(alter)), { name: 'BootError', message }, String(alter));
  }
});

t.test('a command line longer than the kernel takes is refused, one that just fits is not', async (t) => {
  const image = makeBzImage((i) => i.writeUInt32LE(5, SETUP.cmdlineSize));
  t.throws(() => load(t, image, { cmdline: '123456' }), {
    name: 'BootError',
    message: /command line is too long: 6 bytes, .* takes at most 5/,
  });
  load(t, image, { cmdline: '12345' });
  const lying = makeBzImage((i) => i.writeUInt32LE(0xffffffff, SETUP.cmdlineSize));
  t.throws(() => load(t, lying, { cmdline: 'x'.repeat(70000) }), { name: 'BootError', message: /at most 65535/ });
  t.throws(() => load(t, image, { cmdline: 'a\0b' }), { name: 'BootError', message: /NUL/ });
});

t.test('an initrd that does not fit is refused', async (t) => {
  t.throws(() => load(t, makeBzImage(), { initrd: Buffer.alloc(15 * MIB) }), {
    name: 'BootError',
    message: /^initrd file '.*' is too big: no 15728640 free bytes of RAM/,
  });
});

t.test('a truncated file is refused at whatever length', async (t) => {
  const image = makeBzImage();
  for (let length = 0; length < image.length; length += length < 0x300 ? 1 : 97) {
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
    at: fc.integer({ min: 0x1f1, max: 0x26f }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
  });
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), fc.boolean(), (mutations, truncate) => {
      const image = makeBzImage((i) => {
        for (const { at, bytes } of mutations) i.set(bytes, at);
      });
      const memory = new BufferMemory(4 * MIB);
      const cut = truncate ? image.length - 1 - mutations[0]!.at : image.length;
      try {
        loadKernel({ kernelPath: dir.file('vmlinuz', image.subarray(0, cut)), initrdPath, cmdline: 'x', memory });
        loaded++;
      } catch (error) {
        if (!(error instanceof BootError)) throw error;
        refused++;
      }
      return memory.violations.length === 0;
    }),
    { numRuns: 600 },
  );
  t.ok(loaded > 20 && refused > 20, `both happen: ${loaded} loaded, ${refused} refused`);
});
