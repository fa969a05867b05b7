/**
 * Classic pre-copy, as QEMU's: pass 0 sends all memory, then each pass sends what the log found dirty, until the rest fits
 * the downtime limit at the bandwidth measured over the last pass. A guest that dirties memory faster than the link drains it
 * keeps it going for ever, unless the user raises the limit.
 */
import type { LinkFigures, Step } from './policy.js';
import { FROM_DIRTY, FROM_NON_DIRTY, type PageRanges, type RangeOrigin } from './ranges.js';
import { SettingError } from './settings.js';
import { type GuestPages, SEND, StagedPolicy, SWITCHOVER, SYNC } from './staged_policy.js';

/** QEMU's bound: 2000 seconds (migration/migration.c, MAX_MIGRATE_DOWNTIME). */
export const MAX_DOWNTIME_LIMIT_MS = 2_000_000;

export class PrecopyPolicy extends StagedPolicy {
  readonly kind = 'precopy';
  #downtimeLimitMs: number;
  #converged = false;
  /** The limit changed: compare with a fresh log before the pass goes on. */
  #recheck = false;
  #cursor = 0;

  /**
   * @param downtimeLimitMs `downtime-limit`, 0 to 2000000 ms
   * @throws SettingError when the limit is out of its range
   */
  constructor(guest: GuestPages, downtimeLimitMs: number) {
    super(guest);
    this.#downtimeLimitMs = checkDowntimeLimit(downtimeLimitMs);
  }

  get downtimeLimitMs(): number {
    return this.#downtimeLimitMs;
  }

  /** Changes the limit while the migration runs; once pass 0 is over it is applied at once, by an extra sync. */
  setDowntimeLimitMs(limitMs: number): void {
    this.#downtimeLimitMs = checkDowntimeLimit(limitMs);
    this.#recheck = this.epoch > 0;
  }

  protected override liveStep(_nowMs: number, ranges: PageRanges, maxPages: number): Step {
    if (this.syncPending) return SYNC;
    if (this.#recheck || (this.remainingPages === 0 && !this.#converged)) return SYNC;
    if (this.#converged) return SWITCHOVER;
    this.#fill(ranges, maxPages);
    return SEND;
  }

  protected override afterSync(link: LinkFigures): void {
    const remainingBytes = this.remainingPages * this.pageSize;
    this.#converged = remainingBytes <= (link.bytesPerSecond * this.#downtimeLimitMs) / 1000;
    this.#recheck = false;
    this.#cursor = 0;
  }

  /** The pass's next pages, in ascending order: pass 0 has non-dirty pages only, any other dirty ones only. */
  #fill(ranges: PageRanges, maxPages: number): void {
    const sets = this.sets;
    const origin: RangeOrigin = sets.nonDirtyPages > 0 ? FROM_NON_DIRTY : FROM_DIRTY;
    const set = origin === FROM_DIRTY ? sets.dirty : sets.nonDirty;
    let budget = maxPages;
    while (budget > 0 && (origin === FROM_DIRTY ? sets.dirtyPages : sets.nonDirtyPages) > 0) {
      const first = set.nextSet(this.#cursor);
      const after = set.nextClear(first, Math.min(first + budget, sets.pages));
      if (!sets.take(first, after - first, origin, ranges)) return;
      this.#cursor = after;
      budget -= after - first;
    }
  }
}

/** @returns the limit if it is one of QEMU's range, else throws SettingError */
export function checkDowntimeLimit(limitMs: number): number {
  if (!Number.isInteger(limitMs) || limitMs < 0 || limitMs > MAX_DOWNTIME_LIMIT_MS)
    throw SettingError.value('downtime-limit', `an integer from 0 to ${MAX_DOWNTIME_LIMIT_MS} milliseconds`, limitMs);
  return limitMs;
}
