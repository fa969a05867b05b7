/**
 * MPLM's alternation between the two sets. Sending goes in rounds of 100 page *slots*: first `100 - dirtypercents` slots of
 * the non-dirty cursor, then `dirtypercents` slots of the dirty cursor. With the non-dirty slots first, every prefix of the
 * sequence has at most `d / (100 - d)` dirty slots for each non-dirty one; as the non-dirty cursor passes each page once, a
 * live stage over N pages sends at most `N * 100 / (100 - d)` pages, wherever it is cut.
 *
 * A relaxed slot moves its cursor one page and sends that page if it is in the set. A strict slot searches on to the next
 * page that is in the set, and sends it; if the set is empty, it does nothing. The dirty cursor wraps at the end of memory.
 *
 * The slots are accounted exactly but not walked one by one: runs of set pages are taken at once, runs of idle slots and of
 * idle rounds are skipped by arithmetic, and the next page of each set is remembered, so that a call costs the words of
 * bitmap that its cursors pass plus a little a round with pages in it.
 */
import { FROM_DIRTY, FROM_NON_DIRTY, type PageRanges } from './ranges.js';
import type { PageSets } from './sets.js';

const ROUND_SLOTS = 100;

export class Alternation {
  readonly #sets: PageSets;
  readonly #relaxed: boolean;
  readonly #nonDirtySlots: number;
  readonly #dirtySlots: number;
  /** The slot of the round that is next, 0 to 99. */
  #slot = 0;
  #nonDirtyCursor = 0;
  #dirtyCursor = 0;
  /** The first page of each set at or after its cursor (for dirty: in circular order), or -1 when not known. */
  #nextNonDirty = -1;
  #nextDirty = -1;

  /** @param dirtypercents the dirty slots of a round, 1 to 99 */
  constructor(sets: PageSets, dirtypercents: number, relaxed: boolean) {
    this.#sets = sets;
    this.#relaxed = relaxed;
    this.#dirtySlots = dirtypercents;
    this.#nonDirtySlots = ROUND_SLOTS - dirtypercents;
  }

  /** To be called when a log was merged into the sets. */
  setsChanged(): void {
    this.#nextNonDirty = -1;
    this.#nextDirty = -1;
  }

  /**
   * Fills the table by alternation, until `maxPages` pages are taken, the next page does not fit the table, or the non-dirty
   * set is empty. Slots between the last page taken and the end of the batch stay unused, save those that led to a page that
   * did not fit the table. The non-dirty set must not be empty: then at least one page is taken.
   */
  fill(ranges: PageRanges, maxPages: number): void {
    let budget = maxPages;
    while (budget > 0 && this.#sets.nonDirtyPages > 0) {
      if (this.#slot === 0 && this.#relaxed) this.#skipIdleRounds();
      const taken =
        this.#slot < this.#nonDirtySlots
          ? this.#useNonDirtySlots(this.#nonDirtySlots - this.#slot, ranges, budget)
          : this.#useDirtySlots(ROUND_SLOTS - this.#slot, ranges, budget);
      if (taken < 0) return;
      budget -= taken;
    }
  }

  /** Fills the table from the non-dirty set alone, outside the rounds. */
  fillNonDirty(ranges: PageRanges, maxPages: number): void {
    let budget = maxPages;
    while (budget > 0 && this.#sets.nonDirtyPages > 0) {
      const taken = this.#takeNonDirty(this.#findNonDirty(), budget, ranges);
      if (taken < 0) return;
      budget -= taken;
    }
  }

  /** Fills the table from the dirty set alone, outside the rounds: the cursor goes on from where it is. */
  fillDirty(ranges: PageRanges, maxPages: number): void {
    let budget = maxPages;
    while (budget > 0 && this.#sets.dirtyPages > 0) {
      const taken = this.#takeDirty(this.#findDirty(), budget, ranges);
      if (taken < 0) return;
      budget -= taken;
    }
  }

  /** Skips the whole rounds, from the start of one, in which neither cursor meets a page of its set. */
  #skipIdleRounds(): void {
    const sets = this.#sets;
    const nonDirtyRounds = Math.floor((this.#findNonDirty() - this.#nonDirtyCursor) / this.#nonDirtySlots);
    if (nonDirtyRounds === 0) return;
    const dirtyRounds = sets.dirtyPages === 0 ? Infinity : Math.floor(this.#dirtyGap() / this.#dirtySlots);
    const rounds = Math.min(nonDirtyRounds, dirtyRounds);
    this.#nonDirtyCursor += rounds * this.#nonDirtySlots;
    this.#dirtyCursor = (this.#dirtyCursor + rounds * this.#dirtySlots) % sets.pages;
  }

  /** Uses up to `slots` non-dirty slots. @returns the pages taken, -1 when the table is full */
  #useNonDirtySlots(slots: number, ranges: PageRanges, budget: number): number {
    const page = this.#findNonDirty();
    let left = slots;
    if (this.#relaxed) {
      const idle = Math.min(page - this.#nonDirtyCursor, left);
      this.#nonDirtyCursor += idle;
      this.#advance(idle);
      left -= idle;
      if (left === 0) return 0;
    }
    const taken = this.#takeNonDirty(page, Math.min(left, budget), ranges);
    if (taken > 0) this.#advance(taken);
    return taken;
  }

  /** Uses up to `slots` dirty slots. @returns the pages taken, -1 when the table is full */
  #useDirtySlots(slots: number, ranges: PageRanges, budget: number): number {
    const sets = this.#sets;
    let left = slots;
    if (this.#relaxed) {
      const idle = sets.dirtyPages === 0 ? left : Math.min(this.#dirtyGap(), left);
      this.#dirtyCursor = (this.#dirtyCursor + idle) % sets.pages;
      this.#advance(idle);
      left -= idle;
    } else if (sets.dirtyPages === 0) {
      this.#advance(left);
      left = 0;
    }
    if (left === 0) return 0;
    const taken = this.#takeDirty(this.#findDirty(), Math.min(left, budget), ranges);
    if (taken > 0) this.#advance(taken);
    return taken;
  }

  #advance(slots: number): void {
    this.#slot = (this.#slot + slots) % ROUND_SLOTS;
  }

  /** Takes the run at `page`, the next one of the non-dirty set, of at most `most` pages. @returns pages, -1: table full */
  #takeNonDirty(page: number, most: number, ranges: PageRanges): number {
    const sets = this.#sets;
    const end = Math.min(page + most, sets.pages);
    const after = sets.nonDirty.nextClear(page, end);
    if (!sets.take(page, after - page, FROM_NON_DIRTY, ranges)) return -1;
    this.#nonDirtyCursor = after;
    this.#nextNonDirty = -1;
    return after - page;
  }

  /** Takes the run at `page`, the next one of the dirty set, of at most `most` pages. @returns pages, -1: table full */
  #takeDirty(page: number, most: number, ranges: PageRanges): number {
    const sets = this.#sets;
    const end = Math.min(page + most, sets.pages);
    const after = sets.dirty.nextClear(page, end);
    if (!sets.take(page, after - page, FROM_DIRTY, ranges)) return -1;
    this.#dirtyCursor = after === sets.pages ? 0 : after;
    this.#nextDirty = -1;
    return after - page;
  }

  /** The next page of the non-dirty set, which must not be empty. None of its pages is behind the cursor. */
  #findNonDirty(): number {
    if (this.#nextNonDirty < 0) this.#nextNonDirty = this.#sets.nonDirty.nextSet(this.#nonDirtyCursor);
    return this.#nextNonDirty;
  }

  /** The next page of the dirty set, which must not be empty, in circular order from the cursor. */
  #findDirty(): number {
    if (this.#nextDirty < 0) {
      const { dirty, pages } = this.#sets;
      const ahead = dirty.nextSet(this.#dirtyCursor);
      this.#nextDirty = ahead < pages ? ahead : dirty.nextSet(0);
    }
    return this.#nextDirty;
  }

  /** How many slots the relaxed dirty cursor idles before it meets a page of its set, which must not be empty. */
  #dirtyGap(): number {
    const gap = this.#findDirty() - this.#dirtyCursor;
    return gap >= 0 ? gap : gap + this.#sets.pages;
  }
}
