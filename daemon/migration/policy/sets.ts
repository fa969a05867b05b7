/**
 * The two sets that every policy works on. A page is in the non-dirty set (never sent, and not written since tracking
 * began), in the dirty set (written since tracking began, to be sent or sent again), or in neither (sent, and not written
 * since). The sets are disjoint, and their sizes are kept, never recounted.
 */
import { PageBitmap, popcount32 } from './bitmap.js';
import { FROM_DIRTY, type PageRanges, type RangeOrigin } from './ranges.js';

export class PageSets {
  readonly pages: number;
  readonly nonDirty: PageBitmap;
  readonly dirty: PageBitmap;
  #nonDirtyPages: number;
  #dirtyPages = 0;

  /** All `pages` pages start in the non-dirty set. */
  constructor(pages: number) {
    this.pages = pages;
    this.nonDirty = new PageBitmap(pages);
    this.nonDirty.fill();
    this.dirty = new PageBitmap(pages);
    this.#nonDirtyPages = pages;
  }

  get nonDirtyPages(): number {
    return this.#nonDirtyPages;
  }

  get dirtyPages(): number {
    return this.#dirtyPages;
  }

  /**
   * Each page of the log joins the dirty set and leaves the non-dirty set. Merging a log again changes nothing, as pages that
   * wait in the dirty set keep their bit in the log.
   * @returns the pages that were not in the dirty set before
   */
  merge(log: PageBitmap): number {
    this.dirty.checkSameSize(log);
    const dirty = this.dirty.words;
    const nonDirty = this.nonDirty.words;
    const logged = log.words;
    const last = (this.pages - 1) >>> 5;
    const tail = -1 >>> (-this.pages & 31); // bits past the last page are never trusted
    let joined = 0;
    let left = 0;
    for (let w = 0; w <= last; w++) {
      const bits = w === last ? logged[w]! & tail : logged[w]!;
      if (bits === 0) continue;
      joined += popcount32(bits & ~dirty[w]!);
      left += popcount32(bits & nonDirty[w]!);
      dirty[w]! |= bits;
      nonDirty[w]! &= ~bits;
    }
    this.#dirtyPages += joined;
    this.#nonDirtyPages -= left;
    return joined;
  }

  /**
   * Moves a run of one set, whose pages must all be in it, to the table: they leave the set.
   * @returns false, with nothing changed, when the table is full
   */
  take(first: number, count: number, origin: RangeOrigin, ranges: PageRanges): boolean {
    if (!ranges.add(first, count, origin)) return false;
    if (origin === FROM_DIRTY) {
      this.dirty.clearRange(first, count);
      this.#dirtyPages -= count;
    } else {
      this.nonDirty.clearRange(first, count);
      this.#nonDirtyPages -= count;
    }
    return true;
  }
}
