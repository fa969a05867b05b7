/**
 * Memory-bounded pre-copy live migration (K. Chanchio, J. Yaothanee, "Efficient Pre-Copy Live Migration of Virtual Machines
 * for High Performance Computing in Cloud Computing Environments", 2018). The live stage is a series of epochs of
 * `intervaltime` seconds; it ends as soon as the non-dirty set is empty, so it sends at most `N * 100 / (100 - d)` pages
 * whatever the guest does, and stop-and-copy at most N more (see alternation.ts for why).
 *
 * An epoch ends by the clock alone: the end condition is looked at before every batch, so an idle guest's live stage ends
 * with its last page rather than with the epoch.
 *
 * An extended live stage goes on after the end condition with dirty pages only, at the epochs' pace: what an epoch's log
 * brought is sent, then it waits for the epoch's end, so the log is read at most once every `intervaltime`. The bound does
 * not hold for what is sent during the extension, which lasts as long as the user wants it to.
 */
import { Alternation } from './alternation.js';
import type { Step } from './policy.js';
import type { PageRanges } from './ranges.js';
import { type MplmSettings, mplmSettings } from './settings.js';
import { type GuestPages, SEND, StagedPolicy, SWITCHOVER, SYNC } from './staged_policy.js';

export class MplmPolicy extends StagedPolicy {
  readonly kind = 'mplm';
  readonly settings: MplmSettings;
  readonly #intervalMs: number;
  readonly #alternation: Alternation;
  #extended = false;

  /** @throws SettingError when a setting is out of its range */
  constructor(guest: GuestPages, settings: MplmSettings) {
    super(guest);
    this.settings = mplmSettings(settings);
    this.#intervalMs = this.settings.intervaltime * 1000;
    this.#alternation = new Alternation(this.sets, this.settings.dirtypercents, this.settings.relaxlivemig);
  }

  override get extended(): boolean {
    return this.#extended;
  }

  override extendLive(): boolean {
    if (this.stage !== 'live') return false;
    this.#extended = true;
    return true;
  }

  override endLive(): boolean {
    if (this.stage !== 'live' || !this.#extended) return false;
    this.#extended = false;
    return true;
  }

  protected override liveStep(nowMs: number, ranges: PageRanges, maxPages: number): Step {
    const ended = this.sets.nonDirtyPages === 0;
    if (ended && !this.#extended) return SWITCHOVER;
    const epochEndMs = this.epochStartMs + this.#intervalMs;
    if (this.syncPending || nowMs >= epochEndMs) return SYNC;
    if (ended) {
      if (this.sets.dirtyPages === 0) return { kind: 'wait', untilMs: epochEndMs };
      this.#alternation.fillDirty(ranges, maxPages);
    } else if (this.epoch === 0 && this.settings.firstnondirty) {
      this.#alternation.fillNonDirty(ranges, maxPages);
    } else {
      this.#alternation.fill(ranges, maxPages);
    }
    return SEND;
  }

  protected override afterSync(): void {
    this.#alternation.setsChanged();
  }
}
