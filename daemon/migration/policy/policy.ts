/**
 * What a migration engine and a policy say to each other. A policy decides which pages go next and when the live stage
 * ends; it does no I/O and reads no clock, so the same object runs in production, in the simulator and in property tests.
 * One object serves one migration: nothing (an extension, a cursor, a record) survives into the next.
 *
 * ```
 *            next                                     finalSync                    next
 *  live ────────────── send | sync | wait ──┐  ┌──────────────────── final ─────────────── send ──┐
 *   ▲ ▲                  │                  │  │                        ▲                         │
 *   │ └─ synced ◀─ sync ─┘                  │  │                        └── (until all is sent) ──┤
 *   └───────────────────────────────────────┘  │                                                  ▼
 *  live ─ next ─▶ switchover ──────────────────┘                                     done ◀─ next ┘
 * ```
 *
 * The engine's duties:
 * - *send*: for the ranges from the dirty set, clear their bits in the dirty log first, then send (a write after the clear
 *   marks the page again, so that sending by reference is safe). In the final stage no vCPU runs and no bit need be cleared.
 * - *sync*: read the whole log and give it to `synced`. A bit is set for each page written since its bit was last cleared or
 *   tracking began; the log starts empty. Pages still waiting in the dirty set therefore keep their bits, which is harmless.
 * - *wait*: call again at `untilMs`, or sooner when `endLive` was called or the migration is cancelled.
 * - *switchover*: pause the vCPUs, read the log, give it to `finalSync`, then go on with `next` until it says `done`.
 */
import type { PageBitmap } from './bitmap.js';
import type { EpochRecord } from './epochs.js';
import type { PageRanges } from './ranges.js';

/** What the engine has to do next. `send` says that the table given to `next` now holds at least one page. */
export type Step =
  | { readonly kind: 'send' }
  | { readonly kind: 'sync' }
  | { readonly kind: 'wait'; readonly untilMs: number }
  | { readonly kind: 'switchover' }
  | { readonly kind: 'done' };

export type PolicyStage = 'live' | 'switchover' | 'final' | 'done';

/** What the engine measured on the channel since the last sync. */
export interface LinkFigures {
  /** Bytes of guest memory a second: finite or Infinity, not negative. */
  readonly bytesPerSecond: number;
}

export interface SyncResult {
  /** Pages of the log that were not waiting in the dirty set before. */
  readonly newDirtyPages: number;
}

export interface MigrationPolicy {
  readonly kind: 'mplm' | 'precopy';

  /**
   * Decides the next step. Asking again without having done a `sync` or `switchover` gives the same step again.
   * @param nowMs the engine's monotonic clock, milliseconds
   * @param ranges emptied, then filled when the step is `send`; its capacity bounds the ranges of a batch
   * @param maxPages the most pages of a batch, at least 1
   */
  next(nowMs: number, ranges: PageRanges, maxPages: number): Step;

  /** Answers a `sync` step; a policy that asked for none throws. Ends the epoch (or pass) and begins the next one. */
  synced(nowMs: number, dirtyLog: PageBitmap, link: LinkFigures): SyncResult;

  /**
   * Begins the final stage with the log read after the vCPUs paused. Usually answers `switchover`, but may come at any moment
   * of the live stage (say, the guest was stopped): all that is left then goes in the final stage. Throws in the final stage.
   */
  finalSync(nowMs: number, dirtyLog: PageBitmap): SyncResult;

  /**
   * Lets the live stage go on after its end condition.
   * @returns false, with nothing changed, when the policy cannot be extended (classic pre-copy) or its live stage is over
   */
  extendLive(): boolean;

  /**
   * Ends an extension: the live stage is over at the next step if its end condition was reached meanwhile, else when it is.
   * @returns false, with nothing changed, when no extension was in force
   */
  endLive(): boolean;

  readonly stage: PolicyStage;
  /** Whether an extension is in force. */
  readonly extended: boolean;
  /** The epoch (or pass) going on, from 0; once the live stage is over, how many it had. */
  readonly epoch: number;
  /** When it began, by the engine's clock. */
  readonly epochStartMs: number;
  /** Pages in the sets. */
  readonly nonDirtyPages: number;
  readonly dirtyPages: number;
  /** Pages in either set: what would be sent if the vCPUs paused now and had written nothing more. */
  readonly remainingPages: number;
  /** Pages sent in the live stage, in the final stage, and both. */
  readonly livePagesSent: number;
  readonly finalPagesSent: number;
  readonly pagesSentTotal: number;
  /** Ended epochs of the live stage, a bounded number of them (see epochs.ts). The last one's log is the final sync. */
  readonly records: readonly EpochRecord[];
}
