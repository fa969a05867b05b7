/**
 * One bit per guest page, in the layout of KVM's dirty log on a little-endian host: page `i` is bit `i & 31` of 32-bit
 * word `i >>> 5` (Documentation/virt/kvm/api.rst, KVM_GET_DIRTY_LOG: bit 0 of the bitmap is the slot's first page).
 *
 * The words may be a view over memory that something else writes (the kernel, another thread): bits past `pages` in the
 * last words are never trusted when reading, and never set here.
 */

/** The most pages one bitmap covers: 8 TiB of 4 KiB pages, so that page numbers stay exact in 32-bit arithmetic. */
export const MAX_PAGES = 2 ** 31 - 1;

/** The number of one bits in a 32-bit word (the usual parallel sum: pairs, nibbles, bytes). */
export function popcount32(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** The index of the lowest one bit of a word that is not 0. */
function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Ones from bit `from` (0..31) upward. */
function onesFrom(from: number): number {
  return -1 << from;
}

/** Ones below bit `to & 31`; all ones when that is 0, for `to` is then the word's end. */
function onesBelow(to: number): number {
  return -1 >>> (-to & 31);
}

/** A set of page numbers in `[0, pages)`. All positions and counts are pages. */
export class PageBitmap {
  readonly pages: number;
  readonly words: Uint32Array;

  /**
   * @param pages how many pages the set ranges over, 1 to `MAX_PAGES`
   * @param words the bits, at least `ceil(pages / 32)` words; new and empty if not given. The bitmap keeps the view, not a
   *   copy: whoever owns that memory keeps it mapped.
   * @throws RangeError when the page count or the view does not fit
   */
  constructor(pages: number, words?: Uint32Array) {
    if (!Number.isInteger(pages) || pages < 1 || pages > MAX_PAGES)
      throw new RangeError(`A page bitmap covers 1 to ${MAX_PAGES} pages, not ${pages}`);
    const used = Math.ceil(pages / 32);
    if (words !== undefined && words.length < used)
      throw new RangeError(`A bitmap of ${pages} pages needs ${used} words, not ${words.length}`);
    this.pages = pages;
    this.words = words === undefined ? new Uint32Array(PageBitmap.wordsFor(pages)) : words.subarray(0, used);
  }

  /** The words to allocate for `pages` pages: an even number, since the kernel copies its log out in 64-bit words. */
  static wordsFor(pages: number): number {
    return Math.ceil(pages / 64) * 2;
  }

  has(page: number): boolean {
    return page >= 0 && page < this.pages && ((this.words[page >>> 5]! >>> (page & 31)) & 1) === 1;
  }

  /** Adds one page; a page outside the bitmap is a RangeError. */
  set(page: number): void {
    this.#checkRange(page, 1);
    this.words[page >>> 5]! |= 1 << (page & 31);
  }

  /** Removes one page; a page outside the bitmap is a RangeError. */
  clear(page: number): void {
    this.#checkRange(page, 1);
    this.words[page >>> 5]! &= ~(1 << (page & 31));
  }

  /** Adds the pages `[first, first + count)`. */
  setRange(first: number, count: number): void {
    this.#checkRange(first, count);
    if (count === 0) return;
    const end = first + count;
    const firstWord = first >>> 5;
    const lastWord = (end - 1) >>> 5;
    if (firstWord === lastWord) {
      this.words[firstWord]! |= onesFrom(first & 31) & onesBelow(end);
      return;
    }
    this.words[firstWord]! |= onesFrom(first & 31);
    this.words.fill(0xffffffff, firstWord + 1, lastWord);
    this.words[lastWord]! |= onesBelow(end);
  }

  /** Removes the pages `[first, first + count)`. */
  clearRange(first: number, count: number): void {
    this.#checkRange(first, count);
    if (count === 0) return;
    const end = first + count;
    const firstWord = first >>> 5;
    const lastWord = (end - 1) >>> 5;
    if (firstWord === lastWord) {
      this.words[firstWord]! &= ~(onesFrom(first & 31) & onesBelow(end));
      return;
    }
    this.words[firstWord]! &= ~onesFrom(first & 31);
    this.words.fill(0, firstWord + 1, lastWord);
    this.words[lastWord]! &= ~onesBelow(end);
  }

  /** Adds every page. */
  fill(): void {
    this.setRange(0, this.pages);
  }

  /** Removes every page. */
  empty(): void {
    this.words.fill(0);
  }

  /** How many pages of `[first, first + count)` are in the set; of all pages if not given. */
  count(first = 0, count: number = this.pages - first): number {
    this.#checkRange(first, count);
    if (count === 0) return 0;
    const words = this.words;
    const end = first + count;
    const firstWord = first >>> 5;
    const lastWord = (end - 1) >>> 5;
    if (firstWord === lastWord) return popcount32(words[firstWord]! & onesFrom(first & 31) & onesBelow(end));
    let total = popcount32(words[firstWord]! & onesFrom(first & 31)) + popcount32(words[lastWord]! & onesBelow(end));
    for (let w = firstWord + 1; w < lastWord; w++) total += popcount32(words[w]!);
    return total;
  }

  /** Adds every page of `other`, a bitmap of the same size. */
  or(other: PageBitmap): void {
    this.checkSameSize(other);
    const words = this.words;
    const last = (this.pages - 1) >>> 5;
    for (let w = 0; w < last; w++) words[w]! |= other.words[w]!;
    words[last]! |= other.words[last]! & onesBelow(this.pages);
  }

  /** Removes every page of `other`, a bitmap of the same size. */
  andNot(other: PageBitmap): void {
    this.checkSameSize(other);
    const words = this.words;
    const used = ((this.pages - 1) >>> 5) + 1;
    for (let w = 0; w < used; w++) words[w]! &= ~other.words[w]!;
  }

  /** The lowest page of the set in `[from, end)`, or `end` when there is none. `end` is at most `pages`. */
  nextSet(from: number, end: number = this.pages): number {
    return this.#next(from, end, 0);
  }

  /** The lowest page *not* in the set in `[from, end)`, or `end` when there is none. `end` is at most `pages`. */
  nextClear(from: number, end: number = this.pages): number {
    return this.#next(from, end, -1);
  }

  /** Calls `visit(first, count)` for each maximal run of pages of the set within `[from, end)`, lowest first. */
  forEachRun(visit: (first: number, count: number) => void, from = 0, end: number = this.pages): void {
    let first = this.nextSet(from, end);
    while (first < end) {
      const after = this.nextClear(first, end);
      visit(first, after - first);
      first = this.nextSet(after, end);
    }
  }

  /** Throws a RangeError unless `other` covers as many pages as this. */
  checkSameSize(other: PageBitmap): void {
    if (other.pages !== this.pages)
      throw new RangeError(`A bitmap of ${other.pages} pages cannot be combined with one of ${this.pages}`);
  }

  /** The first one bit after XOR with `flip`: flip 0 finds set bits, -1 clear ones. */
  #next(from: number, end: number, flip: 0 | -1): number {
    if (end > this.pages) throw new RangeError(`A search to page ${end} leaves a bitmap of ${this.pages} pages`);
    if (!(from >= 0)) throw new RangeError(`A search cannot begin at page ${from}`);
    if (from >= end) return end;
    const words = this.words;
    const lastWord = (end - 1) >>> 5;
    let w = from >>> 5;
    let bits = (words[w]! ^ flip) & onesFrom(from & 31);
    while (bits === 0) {
      if (w === lastWord) return end;
      bits = words[++w]! ^ flip;
    }
    // A bit of the last word may lie past the end (never trusted): the end is the answer then.
    return Math.min(w * 32 + lowestBit(bits), end);
  }

  #checkRange(first: number, count: number): void {
    if (
      !(first >= 0 && count >= 0 && first + count <= this.pages && Number.isInteger(first) && Number.isInteger(count))
    )
      throw new RangeError(`Pages ${first} to ${first + count} are outside a bitmap of ${this.pages} pages`);
  }
}
