import t, { type Test } from 'tap';
import { MAX_MAPPINGS, pageMappings } from '../../../daemon/dump/page_tables.js';
import { PhysicalMemory } from '../../../daemon/memory/physical_memory.js';
import { GuestRam } from '../../../kvm/guest_ram.js';
import { Mapping } from '../../../kvm/memory.js';
import type { KvmSregs } from '../../../kvm/structs.js';

const PRESENT = 1;
const LARGE = 0x80;
const PG = 1n << 31n;
const [PSE, PAE, LA57, LMA] = [1n << 4n, 1n << 5n, 1n << 12n, 1n << 10n];
const TOP = 0x1000;

/** Memory in which `tables` has entries by their address, and the registers of a vCPU whose top table is at TOP. */
function guest(t: Test, tables: Record<number, number | bigint>, registers: Partial<KvmSregs>, entryBytes = 8) {
  const ram = GuestRam.create(2 ** 20);
  const rom = Mapping.anonymous(4096);
  t.teardown(() => {
    rom[Symbol.dispose]();
    ram[Symbol.dispose]();
  });
  for (const [at, entry] of Object.entries(tables)) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(entry));
    ram.write(Number(at), bytes.subarray(0, entryBytes));
  }
  const sregs = { cr0: PG, cr3: BigInt(TOP), cr4: PAE, efer: LMA, ...registers } as KvmSregs;
  return pageMappings(new PhysicalMemory({ ram, rom }), sregs);
}

t.test(
  '64-bit mode: pages that lie together are one mapping, large pages too; the upper half is sign-extended',
  async (t) => {
    const tables = {
      [TOP]: 0x2000 | PRESENT,
      8192: 0x3000 | PRESENT,
      12288: 0x4000 | PRESENT,
      12296: 0x20_0000 | PRESENT | LARGE,
      12304: 0x40_0000 | PRESENT | LARGE,
      [0x4000 + 511 * 8]: (1n << 63n) | 0x1f_f000n | BigInt(PRESENT), // no execution, by its top bit
      [0x4000 + 5 * 8]: 0x7000,
      [0x4000 + 6 * 8]: 0x7000 | PRESENT,
      [TOP + 511 * 8]: 0x5000 | PRESENT,
      [0x5000 + 511 * 8]: 0x4000_0000 | PRESENT | LARGE,
    };
    t.same(await guest(t, tables, {}), [
      { virtual: 0x6000n, gpa: 0x7000, byteLength: 0x1000 },
      { virtual: 0x1f_f000n, gpa: 0x1f_f000, byteLength: 0x40_1000 },
      { virtual: -(2n ** 30n), gpa: 0x4000_0000, byteLength: 2 ** 30 },
    ]);
  },
);

t.test('64-bit mode with five levels', async (t) => {
  const tables = { [TOP + 256 * 8]: 0x2000 | PRESENT, 8192: 0x3000 | PRESENT, 12296: PRESENT | LARGE };
  t.same(await guest(t, tables, { cr4: PAE | LA57 }), [
    { virtual: -(2n ** 56n) + 2n ** 30n, gpa: 0, byteLength: 2 ** 30 },
  ]);
});

t.test('32-bit mode: two levels, large pages only where CR4.PSE is set, with addresses above 4 GiB', async (t) => {
  const tables = {
    [TOP]: 0x2000 | PRESENT,
    8196: 0x9000 | PRESENT,
    [TOP + 4]: 0x80_0000 | (1 << 13) | PRESENT | LARGE,
  };
  t.same(await guest(t, tables, { cr4: PSE, efer: 0n }, 4), [
    { virtual: 0x1000n, gpa: 0x9000, byteLength: 0x1000 },
    { virtual: 0x40_0000n, gpa: 0x1_0080_0000, byteLength: 0x40_0000 },
  ]);
});

t.test('32-bit mode with PAE: four entries at the top', async (t) => {
  const tables = {
    [TOP + 3 * 8]: 0x2000 | PRESENT,
    8192: 0x60_0000 | PRESENT | LARGE,
    [TOP + 4 * 8]: 0x2000 | PRESENT,
  };
  t.same(await guest(t, tables, { efer: 0n }), [{ virtual: 0xc000_0000n, gpa: 0x60_0000, byteLength: 0x20_0000 }]);
});

t.test('without paging there are no mappings', async (t) => {
  t.equal(await guest(t, {}, { cr0: 1n }), undefined);
});

t.test('tables that map themselves end the walk, which does not hold up the event loop', async (t) => {
  const entries = Array.from({ length: 512 }, (_, i) => [TOP + i * 8, TOP | PRESENT]);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await t.rejects(guest(t, Object.fromEntries(entries), {}), {
    message: new RegExp(`more than ${MAX_MAPPINGS} mappings`),
  });
  clearInterval(timer);
  t.ok(turns > 3, `${turns} other turns came in between`);
});
