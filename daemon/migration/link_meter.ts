/** What went over the channel between two syncs. Pure: the clock and the counters are passed in. */
import type { LinkFigures } from './policy/policy.js';

export interface MeasuredLink extends LinkFigures {
  readonly elapsedMs: number;
  readonly pagesPerSecond: number;
}

export class LinkMeter {
  #lastMs: number;
  #lastBytes = 0;
  #lastPages = 0;

  constructor(nowMs: number) {
    this.#lastMs = nowMs;
  }

  /** Rates since the last call. @param bytes,pages counted since the migration began */
  measure(nowMs: number, bytes: number, pages: number): MeasuredLink {
    const elapsedMs = nowMs - this.#lastMs;
    const perSecond = (count: number) => (elapsedMs > 0 ? (count * 1000) / elapsedMs : 0);
    const figures = {
      elapsedMs,
      bytesPerSecond: perSecond(bytes - this.#lastBytes),
      pagesPerSecond: perSecond(pages - this.#lastPages),
    };
    this.#lastMs = nowMs;
    this.#lastBytes = bytes;
    this.#lastPages = pages;
    return figures;
  }
}
