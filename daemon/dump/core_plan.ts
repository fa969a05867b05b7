/** Which guest memory a core has, in which order, and what of it is at which addresses. */
import type { MemoryBlock } from '../memory/physical_memory.js';
import type { LoadSegment } from './elf_core.js';
import type { PageMapping } from './page_tables.js';

/** Guest-physical addresses from `begin` on, as QMP gives them. */
export interface MemoryFilter {
  readonly begin: bigint;
  readonly length: bigint;
}

/** The parts of `blocks` that a filter leaves. */
export function filterBlocks(blocks: readonly MemoryBlock[], filter: MemoryFilter | undefined): MemoryBlock[] {
  if (!filter) return [...blocks];
  return blocks.flatMap((block) => {
    const [from, to] = intersection(block, filter.begin, filter.begin + filter.length);
    return from < to ? [{ gpa: Number(from), byteLength: Number(to - from) }] : [];
  });
}

/**
 * The segments of a core whose memory is `blocks`, one after the other.
 * @param mappings where page tables have them; by default each block is at its physical address
 */
export function loadSegments(blocks: readonly MemoryBlock[], mappings?: readonly PageMapping[]): LoadSegment[] {
  let offset = 0;
  const placed = blocks.map((block) => {
    const at = offset;
    offset += block.byteLength;
    return { ...block, offset: at };
  });
  const wanted = mappings ?? blocks.map(({ gpa, byteLength }) => ({ virtual: BigInt(gpa), gpa, byteLength }));
  return wanted.flatMap((mapping) =>
    placed.flatMap((block) => {
      const [from, to] = intersection(block, BigInt(mapping.gpa), BigInt(mapping.gpa + mapping.byteLength));
      if (from >= to) return [];
      const virtual = mapping.virtual + (from - BigInt(mapping.gpa));
      return [{ offset: block.offset + Number(from) - block.gpa, gpa: from, virtual, byteLength: Number(to - from) }];
    }),
  );
}

function intersection({ gpa, byteLength }: MemoryBlock, begin: bigint, end: bigint): [bigint, bigint] {
  const [from, to] = [BigInt(gpa), BigInt(gpa + byteLength)];
  return [begin > from ? begin : from, end < to ? end : to];
}
