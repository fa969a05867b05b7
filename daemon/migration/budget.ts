/**
 * The memory bound of one side of a migration: `max-buffer-bytes`. Every buffer that holds migration data outside guest RAM is drawn from
 * here first, the kernel's socket buffers included, so the bound holds by construction.
 *
 * Not counted: the dirty bitmaps (one bit a page each) and the fixed cost of threads.
 */

/** What the words of a shared budget hold (Float64Array: bytes). Written by the migration's thread only, read by anyone. */
export const BUDGET_WORD = { BOUND: 0, IN_USE: 1, PEAK: 2 } as const;
export const BUDGET_WORDS = 3;

/** The least bound a migration works with: two socket buffers, one table of ranges, one section of state. */
export const MIN_BUFFER_BYTES = 2 ** 20;
export const DEFAULT_BUFFER_BYTES = 16 * 2 ** 20;

/** A draw that would go over the bound. */
export class BudgetError extends Error {
  constructor(what: string, bytes: number, bound: number, inUse: number) {
    super(`${what} needs ${bytes} bytes, and ${inUse} of max-buffer-bytes ${bound} are in use`);
    this.name = 'BudgetError';
  }
}

export class Budget {
  readonly #words: Float64Array;

  /** @param words a view over shared memory of BUDGET_WORDS, or private words */
  constructor(bound: number, words: Float64Array = new Float64Array(BUDGET_WORDS)) {
    this.#words = words;
    words[BUDGET_WORD.BOUND] = bound;
    words[BUDGET_WORD.IN_USE] = 0;
    words[BUDGET_WORD.PEAK] = 0;
  }

  get bound(): number {
    return this.#words[BUDGET_WORD.BOUND] as number;
  }

  get inUse(): number {
    return this.#words[BUDGET_WORD.IN_USE] as number;
  }

  get peak(): number {
    return this.#words[BUDGET_WORD.PEAK] as number;
  }

  get left(): number {
    return this.bound - this.inUse;
  }

  /** Makes the bound smaller before anything is drawn. The peak starts anew. */
  lower(bound: number): void {
    if (this.inUse > 0 || bound > this.bound) throw new Error('a bound is lowered before anything is drawn from it');
    this.#words[BUDGET_WORD.BOUND] = bound;
    this.#words[BUDGET_WORD.PEAK] = 0;
  }

  /**
   * Takes `bytes` out of the bound; the result gives them back, once.
   * @throws BudgetError when the bound leaves less
   */
  draw(what: string, bytes: number): Disposable {
    if (bytes > this.left) throw new BudgetError(what, bytes, this.bound, this.inUse);
    const inUse = this.inUse + bytes;
    this.#words[BUDGET_WORD.IN_USE] = inUse;
    if (inUse > this.peak) this.#words[BUDGET_WORD.PEAK] = inUse;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#words[BUDGET_WORD.IN_USE] = this.inUse - bytes;
      },
    };
  }
}
