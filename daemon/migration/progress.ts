/**
 * What one migration's thread and main share: figures that QMP shows without asking the thread, and the few words by which main steers
 * it. Each word has one writer.
 */
import { BUDGET_WORDS } from './budget.js';

/**
 * Int32Array. WAKE: main, after any change the thread should see. VERDICT: see below. EXTEND: main, 1 while an extension is wanted. CUT: main, 1
 * once a user cut the channel.
 */
export const CONTROL = { WAKE: 0, VERDICT: 1, EXTEND: 2, CUT: 3 } as const;

/**
 * Who decided how the migration ends, by one compare-and-swap from OPEN: main may cancel it, the thread may commit it (just before it sends COMMIT);
 * never both.
 */
export const VERDICT = { OPEN: 0, CANCELLED: 1, COMMITTED: 2 } as const;

/** Float64Array, written by the thread. Times are ms of the monotonic clock shared by all threads (see `nowMs`). */
export const FIGURE = {
  BYTES: 0,
  NORMAL_PAGES: 1,
  ZERO_PAGES: 2,
  SYNCS: 3,
  DIRTY_RATE: 4,
  MBPS: 5,
  PAGES_PER_SECOND: 6,
  REMAINING_PAGES: 7,
  NON_DIRTY_PAGES: 8,
  DIRTY_PAGES: 9,
  EPOCH: 10,
  EPOCH_START_MS: 11,
  EXPECTED_DOWNTIME_MS: 12,
  PRECOPY_BYTES: 13,
  DOWNTIME_BYTES: 14,
  EXTENDED: 15,
  /** Index into MIGRATION_STAGES. */
  STAGE: 16,
} as const;
const FIGURES = 17;

/** Float64Array, written by main. Bytes a second, 0: unlimited; ms; percent; 1 for true. */
export const PARAMETER = {
  MAX_BANDWIDTH: 0,
  DOWNTIME_LIMIT_MS: 1,
  THROTTLE_TRIGGER_THRESHOLD: 2,
  CPU_THROTTLE_INITIAL: 3,
  CPU_THROTTLE_INCREMENT: 4,
  MAX_CPU_THROTTLE: 5,
  CPU_THROTTLE_TAILSLOW: 6,
} as const;
const PARAMETERS = 7;

/** One migration's shared memory, passed to its thread. */
export interface SharedProgress {
  readonly control: Int32Array;
  readonly figures: Float64Array;
  readonly parameters: Float64Array;
  readonly budget: Float64Array;
}

export function createSharedProgress(): SharedProgress {
  return {
    control: new Int32Array(new SharedArrayBuffer(16)),
    figures: new Float64Array(new SharedArrayBuffer(8 * FIGURES)),
    parameters: new Float64Array(new SharedArrayBuffer(8 * PARAMETERS)),
    budget: new Float64Array(new SharedArrayBuffer(8 * BUDGET_WORDS)),
  };
}

/** Milliseconds of the machine's monotonic clock: the same in every thread. */
export function nowMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Wakes the thread from any wait of its own (not from a socket call: that takes a shutdown). */
export function wake(control: Int32Array): void {
  Atomics.add(control, CONTROL.WAKE, 1);
  Atomics.notify(control, CONTROL.WAKE);
}
