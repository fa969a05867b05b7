/**
 * The books of a migration: one record for each epoch (MPLM) or pass (classic pre-copy), and totals.
 */

/** One epoch: what was sent in it, and how the sets stood once its dirty log was merged. */
export interface EpochRecord {
  /** 0 for the first epoch. */
  readonly epoch: number;
  /** From the epoch's first step to its last, by the clock that the engine passes in. */
  readonly elapsedMs: number;
  readonly dirtyPagesSent: number;
  readonly nonDirtyPagesSent: number;
  /** Pages that the log at the epoch's end added to the dirty set. */
  readonly newDirtyPages: number;
  /** Set sizes after that log was merged. */
  readonly nonDirtyPages: number;
  readonly dirtyPages: number;
  /** Guest memory sent in the epoch: pages times page size. The wire may carry fewer (holes, compression) or more (headers). */
  readonly bytes: number;
}

/** At most this many records are kept: the first `KEPT_FIRST`, and the latest ones. */
export const KEPT_RECORDS = 128;
export const KEPT_FIRST = 16;

export class EpochBook {
  readonly #pageSize: number;
  readonly #records: EpochRecord[] = [];
  #startMs = 0;
  #dirtySent = 0;
  #nonDirtySent = 0;
  /** Epochs closed so far, whether their records are still kept or not. */
  closed = 0;
  dirtyPagesSentTotal = 0;
  nonDirtyPagesSentTotal = 0;

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
  }

  /** When the open epoch began. */
  get startMs(): number {
    return this.#startMs;
  }

  /** Closed epochs, oldest first: all of them up to `KEPT_RECORDS`, then the first `KEPT_FIRST` and the latest. */
  get records(): readonly EpochRecord[] {
    return this.#records;
  }

  /** Begins an epoch. */
  open(nowMs: number): void {
    this.#startMs = nowMs;
    this.#dirtySent = 0;
    this.#nonDirtySent = 0;
  }

  sent(nonDirtyPages: number, dirtyPages: number): void {
    this.#nonDirtySent += nonDirtyPages;
    this.#dirtySent += dirtyPages;
    this.nonDirtyPagesSentTotal += nonDirtyPages;
    this.dirtyPagesSentTotal += dirtyPages;
  }

  /** Ends the open epoch, with the set sizes after its log was merged. */
  close(nowMs: number, after: { newDirtyPages: number; nonDirtyPages: number; dirtyPages: number }): void {
    this.#records.push({
      epoch: this.closed++,
      elapsedMs: nowMs - this.#startMs,
      dirtyPagesSent: this.#dirtySent,
      nonDirtyPagesSent: this.#nonDirtySent,
      newDirtyPages: after.newDirtyPages,
      nonDirtyPages: after.nonDirtyPages,
      dirtyPages: after.dirtyPages,
      bytes: (this.#dirtySent + this.#nonDirtySent) * this.#pageSize,
    });
    if (this.#records.length > KEPT_RECORDS) this.#records.splice(KEPT_FIRST, 1);
  }
}
