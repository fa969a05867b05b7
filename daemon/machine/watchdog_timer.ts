/** The host's timer behind a watchdog device. */
import type { Ib700 } from '../devices/ib700.js';

const NS_PER_MS = 1_000_000n;

/** Calls back once each time that the device expires while its guest runs. */
export class WatchdogTimer implements Disposable {
  readonly #device: Ib700;
  readonly #guestClockNs: () => bigint;
  readonly #expired: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(device: Ib700, guestClockNs: () => bigint, expired: () => void) {
    this.#device = device;
    this.#guestClockNs = guestClockNs;
    this.#expired = expired;
  }

  /** The guest runs, or its watchdog changed. */
  start(): void {
    clearTimeout(this.#timer);
    const deadline = this.#device.takeDeadlineNs();
    if (deadline === undefined) return;
    const leftNs = deadline - this.#guestClockNs();
    const leftMs = leftNs > 0n ? Number(leftNs / NS_PER_MS) + 1 : 0;
    this.#timer = setTimeout(() => {
      // The guest may have started it anew meanwhile, with the news still on its way.
      if (this.#device.expire(this.#guestClockNs())) this.#expired();
      else this.start();
    }, leftMs);
  }

  /** The guest stands still, and so does its time. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}
