/**
 * The order in which GLib's hash tables of strings are walked (glib/ghash.c of GLib 2.74): QEMU shows the children of an object in it.
 */

/** prime_mod of ghash.c, by the table's shift. */
const PRIMES = [1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381];
const MIN_SHIFT = 3;

/** g_str_hash: bytes are signed. 0 and 1 mean something else in a table. */
function stringHash(text: string): number {
  let hash = 5381;
  for (const byte of Buffer.from(text)) hash = (Math.imul(hash, 33) + ((byte << 24) >> 24)) >>> 0;
  return hash < 2 ? 2 : hash;
}

interface Entry {
  readonly key: string;
  readonly hash: number;
}

/** Keys that were inserted one after the other, each once, in the order of the table's slots. */
export function glibHashOrder(keys: readonly string[]): string[] {
  let slots: (Entry | undefined)[] = new Array(1 << MIN_SHIFT);
  let shift = MIN_SHIFT;
  const start = (hash: number) => (Math.imul(hash, 11) >>> 0) % (PRIMES[shift] as number);
  const probe = (hash: number, taken: (index: number) => boolean) => {
    let index = start(hash);
    for (let step = 1; taken(index); step++) index = (index + step) & (slots.length - 1);
    return index;
  };
  for (const [count, key] of keys.entries()) {
    const hash = stringHash(key);
    slots[probe(hash, (index) => slots[index] !== undefined)] = { key, hash };
    const nodes = count + 1;
    if (slots.length > nodes + Math.floor(nodes / 16)) continue;
    // Entries are moved in place, each pushing on what it finds in its new slot.
    shift = Math.max(MIN_SHIFT, 32 - Math.clz32(Math.floor(nodes * 1.333)));
    slots = [...slots, ...new Array((1 << shift) - slots.length)];
    const moved = new Set<number>();
    for (let i = 0; i < slots.length; i++) {
      let entry = slots[i];
      if (!entry || moved.has(i)) continue;
      slots[i] = undefined;
      while (entry) {
        const index: number = probe(entry.hash, (at) => moved.has(at));
        moved.add(index);
        const pushed: Entry | undefined = slots[index];
        slots[index] = entry;
        entry = pushed;
      }
    }
  }
  return slots.flatMap((entry) => (entry ? [entry.key] : []));
}
