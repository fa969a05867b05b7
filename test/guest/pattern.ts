/**
 * The host's view of the built-in guest's memory: its progress page and the pattern of its pages. `guest/README.md` has both.
 */

/** Guest-physical address of the progress page (`guest/layout.ld`). */
export const PROGRESS_GPA = 0x120000;
export const PAGE_BYTES = 4096;

const MAGIC = 0x54534555474d56n;
const MUL = 0x9e3779b97f4a7c15n;
const STEP = 0xd1342543de82ef95n;
/** The inverse of MUL modulo 2^64. */
const INVERSE = 0xf1de83e19937733dn;

export interface Segment {
  /** Guest-physical address of the first page. */
  gpa: number;
  pages: number;
}

/** What the guest says of itself in its progress page; counts are pages unless named otherwise. */
export interface Progress {
  /** Passes over the working set that are complete. */
  passes: number;
  /** Pages of the working set written in the current pass. */
  position: number;
  dirtied: number;
  beats: number;
  backwardSteps: number;
  fill: number;
  workingSet: number;
  /** Page number in the fill where the working set begins. */
  workingSetAt: number;
  /** Times that memory did not agree with the guest's registers. */
  stale: number;
  segments: Segment[];
}

/** Word `i` (0..511) of page `pfn` (address / 4096) in generation `generation`. */
export function patternWord(pfn: number, generation: number, i: number): bigint {
  return BigInt.asUintN(64, ((BigInt(generation) << 32n) | BigInt(pfn)) * MUL + BigInt(i) * STEP);
}

/** The page and generation that a word at index `i` was written for. */
export function patternOrigin(word: bigint, i: number): { pfn: number; generation: number } {
  const key = BigInt.asUintN(64, (word - BigInt(i) * STEP) * INVERSE);
  return { pfn: Number(key & 0xffffffffn), generation: Number(key >> 32n) };
}

/**
 * Decodes the progress page.
 *
 * @param page the 4096 bytes at PROGRESS_GPA
 * @returns undefined before the guest has filled its memory
 */
export function readProgress(page: Buffer): Progress | undefined {
  const word = (offset: number) => Number(page.readBigUInt64LE(offset));
  if (page.readBigUInt64LE(0) !== MAGIC) return undefined;
  const segments: Segment[] = [];
  for (let i = 0; i < Math.min(word(80), 32); i++) {
    segments.push({ gpa: word(128 + i * 16), pages: word(136 + i * 16) });
  }
  return {
    passes: word(8),
    position: word(16),
    dirtied: word(24),
    beats: word(32),
    backwardSteps: word(40),
    fill: word(48),
    workingSet: word(56),
    workingSetAt: word(64),
    stale: word(72),
    segments,
  };
}

/** The generation that page number `index` of the fill should be in. */
export function expectedGeneration(p: Progress, index: number): number {
  const at = index - p.workingSetAt;
  if (at < 0 || at >= p.workingSet) return 0;
  return at < p.position ? p.passes + 1 : p.passes;
}

export interface BadWord {
  gpa: number;
  want: bigint;
  got: bigint;
}

/**
 * Compares all filled pages of a guest that stands still with what they should hold. A guest stopped in the middle of
 * writing has one page, at its position, that is partly of the next generation; it is not reported.
 *
 * @param read gives `bytes` bytes of guest memory at `gpa`
 * @returns the first word that is wrong, or undefined
 */
export function findBadWord(p: Progress, read: (gpa: number, bytes: number) => Buffer): BadWord | undefined {
  let index = 0;
  for (const segment of p.segments) {
    for (let n = 0; n < segment.pages; n++, index++) {
      const gpa = segment.gpa + n * PAGE_BYTES;
      const pfn = gpa / PAGE_BYTES;
      const page = read(gpa, PAGE_BYTES);
      const generation = expectedGeneration(p, index);
      const inWork = p.workingSet > 0 && index === p.workingSetAt + p.position;
      for (let i = 0; i < 512; i++) {
        const got = page.readBigUInt64LE(i * 8);
        const want = patternWord(pfn, generation, i);
        if (got !== want && !(inWork && got === patternWord(pfn, generation + 1, i)))
          return { gpa: gpa + i * 8, want, got };
      }
    }
  }
  return undefined;
}
