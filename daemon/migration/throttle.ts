/** `max-bandwidth` as a token bucket: bytes may be sent ahead by one interval at most. Pure: the clock is passed in. */

/** Bytes of at most this much time leave in one go. */
const INTERVAL_MS = 50;

export class Throttle {
  #allowanceBytes = 0;
  #lastMs: number;

  constructor(nowMs: number) {
    this.#lastMs = nowMs;
  }

  /** The most bytes that one batch should have at this rate; Infinity when it is unlimited (0). */
  batchBytes(bytesPerSecond: number): number {
    return bytesPerSecond === 0 ? Number.POSITIVE_INFINITY : (bytesPerSecond * INTERVAL_MS) / 1000;
  }

  /** Books `bytes` as sent at `nowMs`; returns how many ms to wait before the next batch (0: none). */
  sent(bytes: number, nowMs: number, bytesPerSecond: number): number {
    if (bytesPerSecond === 0) {
      this.#allowanceBytes = 0;
      this.#lastMs = nowMs;
      return 0;
    }
    const ceiling = this.batchBytes(bytesPerSecond);
    const earned = ((nowMs - this.#lastMs) / 1000) * bytesPerSecond;
    this.#allowanceBytes = Math.min(this.#allowanceBytes + earned, ceiling) - bytes;
    this.#lastMs = nowMs;
    return this.#allowanceBytes >= 0 ? 0 : (-this.#allowanceBytes / bytesPerSecond) * 1000;
  }
}
