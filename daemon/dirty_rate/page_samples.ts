/** Samples of guest memory: pages taken at random, and whether they have changed since. Sizes and formula as in QEMU 7.2's migration/dirtyrate.c. */
import { type GuestRam, PAGE_SIZE } from '../../kvm/guest_ram.js';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
/** Of xxHash. */
const PRIME1 = 0x9e3779b1;
const PRIME2 = 0x85ebca77;

/** A hash of 32 bits, as XXH32's rounds make it of four lanes. */
export function pageHash(words: Uint32Array): number {
  let [a, b, c, d] = [PRIME1, PRIME2, 0, -PRIME1];
  for (let i = 0; i < words.length; i += 4) {
    a = round(a, words[i] as number);
    b = round(b, words[i + 1] as number);
    c = round(c, words[i + 2] as number);
    d = round(d, words[i + 3] as number);
  }
  let hash = ((a << 1) | (a >>> 31)) + ((b << 7) | (b >>> 25)) + ((c << 12) | (c >>> 20)) + ((d << 18) | (d >>> 14));
  hash = Math.imul(hash ^ (hash >>> 15), PRIME2);
  return hash ^ (hash >>> 13);
}

function round(lane: number, word: number): number {
  const sum = (lane + Math.imul(word, PRIME2)) | 0;
  return Math.imul((sum << 13) | (sum >>> 19), PRIME1);
}

const ZERO_PAGE = pageHash(new Uint32Array(PAGE_SIZE / 4));

export class PageSamples {
  readonly #ram: GuestRam;
  readonly #pages: Float64Array;
  readonly #hashes: Int32Array;

  /** Takes `perGib` samples of each GiB. */
  constructor(ram: GuestRam, perGib: number) {
    this.#ram = ram;
    const count = Math.floor((ram.ramBytes * perGib) / GIB);
    this.#pages = Float64Array.from({ length: count }, () => Math.floor(Math.random() * ram.pages));
    this.#hashes = Int32Array.from(this.#pages, (page) => this.#hash(page));
  }

  /** MiB a second, if what changed of the samples in `elapsedMs` is what changes of all; -1 without any sample. */
  rate(elapsedMs: number): number {
    const count = this.#pages.length;
    if (count === 0) return -1;
    const changed = this.#pages.reduce((sum, page, i) => sum + (this.#hash(page) === this.#hashes[i] ? 0 : 1), 0);
    return Math.floor((changed * Math.floor(this.#ram.ramBytes / MIB) * 1000) / (count * elapsedMs));
  }

  /** A page that was never touched is zero, and stays untouched. */
  #hash(page: number): number {
    for (const piece of this.#ram.pieces(page * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE)) {
      if (typeof piece !== 'number') return pageHash(new Uint32Array(piece.buffer, piece.byteOffset, PAGE_SIZE / 4));
    }
    return ZERO_PAGE;
  }
}
