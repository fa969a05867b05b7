import t from 'tap';
import { filterBlocks, loadSegments } from '../../../daemon/dump/core_plan.js';
import { coreFrame, EM_X86_64 } from '../../../daemon/dump/elf_core.js';
import { ElfCore } from '../../helpers/elf_core.js';

const BLOCKS = [
  { gpa: 0, byteLength: 0x3000 },
  { gpa: 0x10000, byteLength: 0x2000 },
];
const MEMORY = Uint8Array.from({ length: 0x5000 }, (_, i) => i >> 12);

function core(loads: ReturnType<typeof loadSegments>, notes = new Uint8Array(8)): ElfCore {
  const { head, tail } = coreFrame(EM_X86_64, notes, loads, MEMORY.length);
  return new ElfCore(Buffer.concat([head, MEMORY, tail]));
}

t.test('memory is found at its physical addresses, and the sections’ names behind it', async (t) => {
  const elf = core(loadSegments(BLOCKS));
  t.equal(elf.machine, 62);
  t.equal(elf.memory(0x2fffn, 1)[0], 2);
  t.equal(elf.memory(0x10000n, 1)[0], 3);
  t.equal(elf.sectionNames, '\0.shstrtab\0');
});

t.test('mappings are cut where memory ends, each part at its address', async (t) => {
  const elf = core(
    loadSegments(BLOCKS, [
      { virtual: -0x8000n, gpa: 0x1000, byteLength: 0x10000 },
      { virtual: 0x7000n, gpa: 0x11000, byteLength: 0x1000 },
      { virtual: 0x9000n, gpa: 0x8000, byteLength: 0x1000 },
    ]),
  );
  t.same(
    elf.loads.map(({ virtual, physical, bytes }) => [virtual, physical, bytes]),
    [
      [0xffff_ffff_ffff_8000n, 0x1000n, 0x2000],
      [0x7000n, 0x10000n, 0x1000],
      [0x7000n, 0x11000n, 0x1000],
    ],
  );
  t.equal(elf.memory(0xffff_ffff_ffff_9000n, 1)[0], 2);
});

t.test('a filter leaves what it touches', async (t) => {
  t.same(filterBlocks(BLOCKS, { begin: 0x2001n, length: 0x10000n }), [
    { gpa: 0x2001, byteLength: 0xfff },
    { gpa: 0x10000, byteLength: 0x2000 },
  ]);
  t.same(filterBlocks(BLOCKS, { begin: 0x3000n, length: 0xd000n }), []);
  t.same(filterBlocks(BLOCKS, { begin: 0x1000n, length: 2n ** 62n })[0], { gpa: 0x1000, byteLength: 0x2000 });
  t.same(filterBlocks(BLOCKS, undefined), BLOCKS);
});

t.test('more segments than the header counts are counted by the first section', async (t) => {
  const load = { offset: 0, gpa: 0n, virtual: 0n, byteLength: 1 };
  const elf = core(Array.from({ length: 70_000 }, (_, i) => ({ ...load, virtual: BigInt(i) })));
  t.equal(elf.segments.length, 70_001);
  t.equal(elf.file.readUInt16LE(56), 0xffff);
  t.equal(elf.loads.at(-1)?.virtual, 69_999n);
});
