/**
 * What all policies share: the stages of policy.ts, the books, and the final stage, which sends all that is left in
 * ascending order. A policy adds how its live stage goes.
 */
import type { PageBitmap } from './bitmap.js';
import { EpochBook, type EpochRecord } from './epochs.js';
import type { LinkFigures, MigrationPolicy, PolicyStage, Step, SyncResult } from './policy.js';
import { FROM_DIRTY, FROM_NON_DIRTY, type PageRanges, type RangeOrigin } from './ranges.js';
import { PageSets } from './sets.js';

export const SEND: Step = { kind: 'send' };
export const SYNC: Step = { kind: 'sync' };
export const SWITCHOVER: Step = { kind: 'switchover' };
const DONE: Step = { kind: 'done' };

/** The guest memory that a policy works on. */
export interface GuestPages {
  /** Pages of guest RAM, at least 1. */
  readonly pages: number;
  /** Bytes a page. */
  readonly pageSize: number;
}

export abstract class StagedPolicy implements MigrationPolicy {
  abstract readonly kind: 'mplm' | 'precopy';
  protected readonly sets: PageSets;
  protected readonly pageSize: number;
  readonly #book: EpochBook;
  #stage: PolicyStage = 'live';
  #started = false;
  #syncPending = false;
  #finalPagesSent = 0;
  #finalCursor = 0;

  constructor(guest: GuestPages) {
    if (!Number.isInteger(guest.pageSize) || guest.pageSize < 1)
      throw new RangeError(`A page has a whole number of bytes, not ${guest.pageSize}`);
    this.sets = new PageSets(guest.pages);
    this.pageSize = guest.pageSize;
    this.#book = new EpochBook(guest.pageSize);
  }

  /** The live stage's next step. `send` only when `ranges` got a page; asking again must be harmless. */
  protected abstract liveStep(nowMs: number, ranges: PageRanges, maxPages: number): Step;

  /** Called when a dirty log was merged during the live stage. */
  protected abstract afterSync(link: LinkFigures): void;

  /** A sync was asked for and is not answered yet. */
  protected get syncPending(): boolean {
    return this.#syncPending;
  }

  next(nowMs: number, ranges: PageRanges, maxPages: number): Step {
    if (!Number.isInteger(maxPages) || maxPages < 1)
      throw new RangeError(`A batch holds a whole number of pages of at least 1, not ${maxPages}`);
    this.#start(nowMs);
    ranges.reset();
    switch (this.#stage) {
      case 'live': {
        const step = this.liveStep(nowMs, ranges, maxPages);
        if (step.kind === 'send') this.#book.sent(ranges.nonDirtyPages, ranges.dirtyPages);
        else if (step.kind === 'sync') this.#syncPending = true;
        else if (step.kind === 'switchover') this.#stage = 'switchover';
        return step;
      }
      case 'switchover':
        return SWITCHOVER;
      case 'final':
        this.#fillFinal(ranges, maxPages);
        if (ranges.pages > 0) return SEND;
        this.#stage = 'done';
        return DONE;
      case 'done':
        return DONE;
    }
  }

  synced(nowMs: number, dirtyLog: PageBitmap, link: LinkFigures): SyncResult {
    if (this.#stage !== 'live' || !this.#syncPending)
      throw new Error(`A dirty log came in stage ${this.#stage} without having been asked for`);
    if (!(link.bytesPerSecond >= 0)) throw new RangeError(`A link cannot carry ${link.bytesPerSecond} bytes a second`);
    const result = this.#merge(nowMs, dirtyLog);
    this.#syncPending = false;
    this.#book.open(nowMs);
    this.afterSync(link);
    return result;
  }

  finalSync(nowMs: number, dirtyLog: PageBitmap): SyncResult {
    if (this.#stage !== 'live' && this.#stage !== 'switchover')
      throw new Error(`The last dirty log came in stage ${this.#stage}, which is after the live stage`);
    this.#start(nowMs);
    const result = this.#merge(nowMs, dirtyLog);
    this.#syncPending = false;
    this.#stage = 'final';
    return result;
  }

  extendLive(): boolean {
    return false;
  }

  endLive(): boolean {
    return false;
  }

  get extended(): boolean {
    return false;
  }

  get stage(): PolicyStage {
    return this.#stage;
  }

  get epoch(): number {
    return this.#book.closed;
  }

  get epochStartMs(): number {
    return this.#book.startMs;
  }

  get nonDirtyPages(): number {
    return this.sets.nonDirtyPages;
  }

  get dirtyPages(): number {
    return this.sets.dirtyPages;
  }

  get remainingPages(): number {
    return this.sets.nonDirtyPages + this.sets.dirtyPages;
  }

  get livePagesSent(): number {
    return this.#book.nonDirtyPagesSentTotal + this.#book.dirtyPagesSentTotal;
  }

  get finalPagesSent(): number {
    return this.#finalPagesSent;
  }

  get pagesSentTotal(): number {
    return this.livePagesSent + this.#finalPagesSent;
  }

  get records(): readonly EpochRecord[] {
    return this.#book.records;
  }

  /** The first epoch begins with the engine's first word. */
  #start(nowMs: number): void {
    if (this.#started) return;
    this.#started = true;
    this.#book.open(nowMs);
  }

  #merge(nowMs: number, dirtyLog: PageBitmap): SyncResult {
    const newDirtyPages = this.sets.merge(dirtyLog);
    const { nonDirtyPages, dirtyPages } = this.sets;
    this.#book.close(nowMs, { newDirtyPages, nonDirtyPages, dirtyPages });
    return { newDirtyPages };
  }

  /** The lowest pages of either set, in ascending order: memory is walked once, whatever the sets look like. */
  #fillFinal(ranges: PageRanges, maxPages: number): void {
    const { pages, dirty, nonDirty } = this.sets;
    let budget = maxPages;
    while (budget > 0 && this.remainingPages > 0) {
      const nextDirty = this.sets.dirtyPages > 0 ? dirty.nextSet(this.#finalCursor) : pages;
      const nextNonDirty = this.sets.nonDirtyPages > 0 ? nonDirty.nextSet(this.#finalCursor, nextDirty) : nextDirty;
      const origin: RangeOrigin = nextNonDirty < nextDirty ? FROM_NON_DIRTY : FROM_DIRTY;
      const first = Math.min(nextDirty, nextNonDirty);
      const end = Math.min(first + budget, pages);
      const count = (origin === FROM_DIRTY ? dirty : nonDirty).nextClear(first, end) - first;
      if (!this.sets.take(first, count, origin, ranges)) break;
      this.#finalCursor = first + count;
      this.#finalPagesSent += count;
      budget -= count;
    }
  }
}
