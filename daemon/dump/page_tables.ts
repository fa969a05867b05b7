/** What a vCPU's page tables map, as a core with `paging` tells it. */
import type { KvmSregs } from '../../kvm/structs.js';
import type { PhysicalMemory } from '../memory/physical_memory.js';

/** Tables read between two turns of the event loop: a few milliseconds. */
const TABLES_A_TURN = 64;
/** A guest can make tables that map for ever, each into the next; no true ones are that many. */
const MAX_TABLES = 2 ** 21;
export const MAX_MAPPINGS = 2 ** 18;
const PAGE_BYTES = 4096;

const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LMA = 1n << 10n;
const PRESENT = 1;
const LARGE = 0x80;

/** `byteLength` bytes from `virtual` on, found at `gpa`. */
export interface PageMapping {
  readonly virtual: bigint;
  readonly gpa: number;
  readonly byteLength: number;
}

/** One level of tables: how far down its index is in an address, its entries, and whether one may map memory itself. */
interface Level {
  readonly shift: number;
  readonly entries: number;
  readonly large: boolean;
}

const level = (shift: number, large = false, entries = 512): Level => ({ shift, entries, large });
const LAST = level(12, true);

/** Levels from the top, and where the top table is. Undefined: paging is off. */
function pagingOf({ cr0, cr3, cr4, efer }: KvmSregs) {
  if ((cr0 & CR0_PG) === 0n) return undefined;
  const table = (mask: bigint) => Number(cr3 & mask);
  if ((efer & EFER_LMA) !== 0n) {
    const top = (cr4 & CR4_LA57) !== 0n ? [level(48)] : [];
    const levels = [...top, level(39), level(30, true), level(21, true), LAST];
    return { levels, entryBytes: 8, bits: top.length > 0 ? 57 : 48, table: table(0x000f_ffff_ffff_f000n) };
  }
  if ((cr4 & CR4_PAE) !== 0n) {
    return {
      levels: [level(30, false, 4), level(21, true), LAST],
      entryBytes: 8,
      bits: 64,
      table: table(0xffff_ffe0n),
    };
  }
  const levels = [level(22, (cr4 & CR4_PSE) !== 0n, 1024), level(12, true, 1024)];
  return { levels, entryBytes: 4, bits: 64, table: table(0xffff_f000n) };
}

/**
 * The mappings of a paused vCPU in order of virtual address, what lies together as one; undefined where it does not use paging.
 * @throws Error when there are more than a true guest has
 */
export async function pageMappings(memory: PhysicalMemory, sregs: KvmSregs): Promise<PageMapping[] | undefined> {
  const paging = pagingOf(sregs);
  if (!paging) return undefined;
  const { levels, entryBytes, bits } = paging;
  const mappings: PageMapping[] = [];
  let last: { virtual: number; gpa: number; byteLength: number } | undefined;
  let tables = 0;
  const finish = () => {
    if (last) mappings.push({ ...last, virtual: BigInt.asIntN(bits, BigInt(last.virtual) * BigInt(PAGE_BYTES)) });
    if (mappings.length > MAX_MAPPINGS)
      throw new Error(`the guest's page tables have more than ${MAX_MAPPINGS} mappings`);
  };
  /** Virtual addresses count in pages here, so that they stay exact. */
  const add = (virtual: number, gpa: number, byteLength: number) => {
    if (last && virtual === last.virtual + last.byteLength / PAGE_BYTES && gpa === last.gpa + last.byteLength) {
      last.byteLength += byteLength;
      return;
    }
    finish();
    last = { virtual, gpa, byteLength };
  };
  const walk = async (depth: number, table: number, base: number): Promise<void> => {
    const { shift, entries, large } = levels[depth] as Level;
    if (++tables > MAX_TABLES) throw new Error(`the guest's page tables are more than ${MAX_TABLES}`);
    if (tables % TABLES_A_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    const bytes = memory.read(BigInt(table), entries * entryBytes);
    const view = new DataView(bytes.buffer);
    const span = 2 ** shift;
    for (let i = 0; i < entries; i++) {
      const low = view.getUint32(i * entryBytes, true);
      if ((low & PRESENT) === 0) continue;
      const high = entryBytes === 8 ? view.getUint32(i * 8 + 4, true) & 0xfffff : 0;
      const address = high * 2 ** 32 + (low - (low % PAGE_BYTES));
      const virtual = base + (i * span) / PAGE_BYTES;
      const leaf = depth === levels.length - 1 || (large && (low & LARGE) !== 0);
      if (!leaf) await walk(depth + 1, address, virtual);
      // PSE-36: bits 13 to 20 of a large entry of 32-bit tables are the address's bits 32 to 39.
      else if (entryBytes === 4 && span > PAGE_BYTES)
        add(virtual, ((low >>> 13) & 0xff) * 2 ** 32 + (low - (low % span)), span);
      else add(virtual, address - (address % span), span);
    }
  };
  await walk(0, paging.table, 0);
  finish();
  return mappings;
}
