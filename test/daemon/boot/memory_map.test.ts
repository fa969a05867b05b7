import fc from 'fast-check';
import t from 'tap';
import { BootError } from '../../../daemon/boot/boot_error.js';
import { RamClaims } from '../../../daemon/boot/boot_memory.js';
import { bootGdt, identityPageTables } from '../../../daemon/boot/boot_state.js';
import { E820_RAM, e820, HIGH_RAM_START, RAM_HOLE_START, ramRegions } from '../../../daemon/boot/memory_map.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

t.test('RAM up to 3 GiB is one region, the rest continues at 4 GiB', async (t) => {
  t.same(ramRegions(512 * MIB), [{ start: 0, byteLength: 512 * MIB }]);
  t.same(ramRegions(3 * GIB), [{ start: 0, byteLength: 3 * GIB }]);
  t.same(ramRegions(8 * GIB), [
    { start: 0, byteLength: 3 * GIB },
    { start: 4 * GIB, byteLength: 5 * GIB },
  ]);
});

t.test('the memory map of a 5 GiB machine has the holes of a PC', async (t) => {
  t.same(e820(5 * GIB), [
    { start: 0, byteLength: 0x9fc00, type: 1 },
    { start: 0x9fc00, byteLength: 0x400, type: 2 },
    { start: 0xf0000, byteLength: 0x10000, type: 2 },
    { start: 0x100000, byteLength: 0xbff00000, type: 1 },
    { start: 0xfeffc000, byteLength: 0x4000, type: 2 },
    { start: 0x100000000, byteLength: 2 * GIB, type: 1 },
  ]);
});

t.test('the memory map is sorted, without overlaps, and names as RAM only what is RAM', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 2 * MIB, max: 2 ** 45 }), (ramBytes) => {
      const map = e820(ramBytes);
      const regions = ramRegions(ramBytes);
      for (const [i, entry] of map.entries()) {
        const next = map[i + 1];
        const end = entry.start + entry.byteLength;
        if (entry.byteLength <= 0 || (next !== undefined && next.start < end)) return false;
        const inRam = regions.some((r) => entry.start >= r.start && end <= r.start + r.byteLength);
        if (entry.type === E820_RAM && !inRam) return false;
      }
      const usable = map.filter((e) => e.type === E820_RAM).reduce((sum, e) => sum + e.byteLength, 0);
      return usable === ramBytes - (0x100000 - 0x9fc00);
    }),
  );
});

t.test('a claim outside RAM, in a hole, over another or of an absurd size is refused', async (t) => {
  const claims = new RamClaims(5 * GIB);
  claims.claim('kernel', 0x200000, 0x1000);
  t.throws(() => claims.claim('image', 0x200fff, 1), {
    name: 'BootError',
    message: 'image (0x200fff to 0x200fff) overlaps with kernel (0x200000 to 0x200fff)',
  });
  t.throws(() => claims.claim('image', 0x9fb00, 0x200), { message: /image does not fit into guest RAM/ });
  t.throws(() => claims.claim('image', 0xa0000, 1), BootError);
  t.throws(() => claims.claim('image', RAM_HOLE_START - 1, 2), BootError);
  t.throws(() => claims.claim('image', HIGH_RAM_START + 2 * GIB, 1), BootError);
  t.throws(() => claims.claim('image', -1, 2), BootError);
  t.throws(() => claims.claim('image', 0x100000, Number.MAX_SAFE_INTEGER), BootError);
  t.throws(() => claims.claim('image', 0x100000, -1), BootError);
  claims.claim('image', HIGH_RAM_START + 2 * GIB - 1, 1);
});

t.test('the highest free range steps down past what is taken', async (t) => {
  const claims = new RamClaims(16 * MIB);
  t.equal(claims.claimHighest('a', 5000, MIB, RAM_HOLE_START), 16 * MIB - 8192);
  t.equal(claims.claimHighest('b', 4096, MIB, RAM_HOLE_START), 16 * MIB - 3 * 4096);
  t.equal(claims.claimHighest('c', 4096, MIB, 8 * MIB), 8 * MIB - 4096);
  t.throws(() => claims.claimHighest('d', 15 * MIB, MIB, RAM_HOLE_START), {
    message: /^d is too big: no 15728640 free/,
  });
});

t.test('less than 2 MiB of RAM is refused', async (t) => {
  t.throws(() => new RamClaims(MIB), { name: 'BootError', message: /1048576 bytes of RAM are too few/ });
});

t.test('the identity page tables map every byte below 4 GiB to itself', async (t) => {
  const at = 0x9000;
  const tables = identityPageTables(at);
  const view = new DataView(tables.buffer);
  const entry = (table: bigint, index: bigint): bigint =>
    view.getBigUint64(Number(table) - at + Number(index) * 8, true);
  const walk = (va: bigint): bigint | undefined => {
    const pdpt = entry(BigInt(at), (va >> 39n) & 511n);
    if ((pdpt & 1n) === 0n) return undefined;
    const pd = entry(pdpt & ~0xfffn, (va >> 30n) & 511n);
    if ((pd & 1n) === 0n) return undefined;
    const page = entry(pd & ~0xfffn, (va >> 21n) & 511n);
    return (page & 0x83n) === 0x83n ? (page & ~0x1fffffn) | (va & 0x1fffffn) : undefined;
  };
  for (const va of [0n, 0x1fffffn, 0x200000n, 0x1000200n, 0x3fffffffn, 0x40000000n, 0xbfffffffn, 0xffffffffn]) {
    t.equal(walk(va), va);
  }
  t.equal(walk(0x100000000n), undefined);
});

t.test('the boot GDT holds a 64-bit or 32-bit code segment at 0x10, data at 0x18 and a busy TSS at 0x20', async (t) => {
  t.equal(
    Buffer.from(bootGdt(64)).toString('hex'),
    `${'00'.repeat(16)}ffff0000009baf00ffff00000093cf0067000000008b0000${'00'.repeat(8)}`,
  );
  t.equal(Buffer.from(bootGdt(32)).subarray(16, 24).toString('hex'), 'ffff0000009bcf00');
});
