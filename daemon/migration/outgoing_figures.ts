/** What the thread of an outgoing migration shows to main, and so to `query-migrate`. */
import type { FrameChannel } from './frame_channel.js';
import { LinkMeter } from './link_meter.js';
import type { MigrationPolicy } from './policy/index.js';
import { FIGURE, nowMs } from './progress.js';
import type { RamSender } from './ram_sender.js';

/** How often throughput is measured for `query-migrate`, as in QEMU. */
const RATES_INTERVAL_MS = 100;

export class OutgoingFigures {
  readonly #figures: Float64Array;
  readonly #policy: MigrationPolicy;
  readonly #rates = new LinkMeter(nowMs());
  readonly #whole = new LinkMeter(nowMs());
  #shownRatesMs = nowMs();

  constructor(figures: Float64Array, policy: MigrationPolicy) {
    this.#figures = figures;
    this.#policy = policy;
  }

  /** @param index one of FIGURE */
  set(index: number, value: number): void {
    this.#figures[index] = value;
  }

  /** How far it is. */
  show(channel: FrameChannel, sender: RamSender): void {
    const policy = this.#policy;
    this.set(FIGURE.BYTES, channel.sentBytes);
    this.set(FIGURE.NORMAL_PAGES, sender.normalPages);
    this.set(FIGURE.ZERO_PAGES, sender.zeroPages);
    this.set(FIGURE.REMAINING_PAGES, policy.remainingPages);
    this.set(FIGURE.NON_DIRTY_PAGES, policy.nonDirtyPages);
    this.set(FIGURE.DIRTY_PAGES, policy.dirtyPages);
    this.set(FIGURE.EPOCH, policy.epoch);
    this.set(FIGURE.EPOCH_START_MS, policy.epochStartMs);
    if (nowMs() - this.#shownRatesMs >= RATES_INTERVAL_MS) this.#showRates(this.#rates, channel);
  }

  /** At the end: the throughput of all of it. */
  showWhole(channel: FrameChannel, sender: RamSender): void {
    this.show(channel, sender);
    this.#showRates(this.#whole, channel);
  }

  #showRates(meter: LinkMeter, channel: FrameChannel): void {
    this.#shownRatesMs = nowMs();
    const { bytesPerSecond, pagesPerSecond } = meter.measure(
      this.#shownRatesMs,
      channel.sentBytes,
      this.#policy.pagesSentTotal,
    );
    this.set(FIGURE.MBPS, (bytesPerSecond * 8) / 1e6);
    this.set(FIGURE.PAGES_PER_SECOND, pagesPerSecond);
  }
}
