/**
 * The table of page ranges that a policy fills and an engine sends: flat, of fixed capacity, used again for each batch, so
 * that its size counts once against the migration's memory bound.
 */

/** Where a range's pages came from. Dirty ones must be cleared in KVM's log just before they are sent. */
export const FROM_NON_DIRTY = 0;
export const FROM_DIRTY = 1;
export type RangeOrigin = typeof FROM_NON_DIRTY | typeof FROM_DIRTY;

export class PageRanges {
  /** The most ranges the table holds. */
  readonly capacity: number;
  /** `[first, count, first, count, …]` in pages; the first `2 * length` entries count. */
  readonly data: Uint32Array;
  /** The origin of each range (`FROM_NON_DIRTY` or `FROM_DIRTY`); the first `length` entries count. */
  readonly origins: Uint8Array;
  /** Ranges in the table. */
  length = 0;
  /** Pages in the ranges, by origin. */
  nonDirtyPages = 0;
  dirtyPages = 0;
  /** Index of the last range of each origin, -1 for none: the one a following page may extend. */
  #last: [number, number] = [-1, -1];

  /** @param capacity the most ranges, at least 1; see `bytesFor` for what that costs */
  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1)
      throw new RangeError(`A table of page ranges holds at least 1 range, not ${capacity}`);
    this.capacity = capacity;
    this.data = new Uint32Array(capacity * 2);
    this.origins = new Uint8Array(capacity);
  }

  /** The bytes that a table of `capacity` ranges holds, for the migration's memory accounting. */
  static bytesFor(capacity: number): number {
    return capacity * 9;
  }

  /** Pages in the table. */
  get pages(): number {
    return this.nonDirtyPages + this.dirtyPages;
  }

  first(range: number): number {
    return this.data[range * 2]!;
  }

  count(range: number): number {
    return this.data[range * 2 + 1]!;
  }

  isDirty(range: number): boolean {
    return this.origins[range] === FROM_DIRTY;
  }

  /** Empties the table. */
  reset(): void {
    this.length = 0;
    this.nonDirtyPages = 0;
    this.dirtyPages = 0;
    this.#last[FROM_NON_DIRTY] = -1;
    this.#last[FROM_DIRTY] = -1;
  }

  /**
   * Appends the pages `[first, first + count)`. They extend the last range of the same origin where they follow it directly:
   * no page is in a batch twice, so the order within a batch does not matter, and alternation does not cut runs short.
   * @returns false, with nothing changed, when a new range is needed and the table is full
   */
  add(first: number, count: number, origin: RangeOrigin): boolean {
    const last = this.#last[origin];
    if (last >= 0 && this.data[last * 2]! + this.data[last * 2 + 1]! === first) {
      this.data[last * 2 + 1]! += count;
    } else {
      if (this.length === this.capacity) return false;
      const index = this.length++;
      this.data[index * 2] = first;
      this.data[index * 2 + 1] = count;
      this.origins[index] = origin;
      this.#last[origin] = index;
    }
    if (origin === FROM_DIRTY) this.dirtyPages += count;
    else this.nonDirtyPages += count;
    return true;
  }
}
