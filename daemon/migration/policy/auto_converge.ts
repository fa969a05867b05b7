/**
 * When classic pre-copy slows the guest down, and by how much, as QEMU does (migration/ram.c, migration_trigger_throttle): twice in a row more was
 * dirtied than a share of what was sent. Pure: the clock and the figures are passed in.
 */

export interface ThrottleParameters {
  /** Percentage of dirtied to sent bytes over which a period counts as high. */
  readonly triggerThreshold: number;
  /** Percent of the vCPUs' time. */
  readonly initial: number;
  readonly increment: number;
  readonly max: number;
  /** Raise by no more than it takes to stay below the threshold. */
  readonly tailslow: boolean;
}

/** A period has at least this length; syncs that come sooner belong to the next one. */
const PERIOD_MS = 1000;

export class AutoConverge {
  /** Percent of the vCPUs' time that are taken; 0: none. */
  percent = 0;
  #sinceMs: number;
  #sentBefore = 0;
  #dirtyBytes = 0;
  #highPeriods = 0;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /**
   * Takes note of a sync of the dirty log.
   * @param sentBytes since the migration began
   * @param dirtyBytes found at this sync
   */
  synced(nowMs: number, sentBytes: number, dirtyBytes: number, parameters: ThrottleParameters): void {
    this.#dirtyBytes += dirtyBytes;
    if (nowMs <= this.#sinceMs + PERIOD_MS) return;
    const threshold = ((sentBytes - this.#sentBefore) * parameters.triggerThreshold) / 100;
    if (this.#dirtyBytes > threshold && ++this.#highPeriods >= 2) {
      this.#highPeriods = 0;
      this.percent = this.#next(threshold, parameters);
    }
    this.#sinceMs = nowMs;
    this.#sentBefore = sentBytes;
    this.#dirtyBytes = 0;
  }

  #next(threshold: number, { initial, increment, max, tailslow }: ThrottleParameters): number {
    if (this.percent === 0) return initial;
    const now = 100 - this.percent;
    const ideal = now * (threshold / this.#dirtyBytes);
    const by = tailslow ? Math.min(Math.floor(now - ideal), increment) : increment;
    return Math.min(this.percent + by, max);
  }
}
