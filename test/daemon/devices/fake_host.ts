import type { DeviceHost } from '../../../daemon/devices/device.js';

/** A host that notes down what devices do. */
export class FakeHost implements DeviceHost {
  readonly irqs: string[] = [];
  readonly levels = new Map<number, 0 | 1>();
  readonly resets: string[] = [];
  readonly exits: number[] = [];
  nowMs = Date.UTC(2024, 1, 29, 23, 59, 58, 250);
  clockNs = 5_000_000_000n;
  serialActivities = 0;
  watchdogChanges = 0;
  rtcChanges = 0;
  readonly sleeps: string[] = [];
  readonly panics: string[] = [];

  setIrq(gsi: number, level: 0 | 1): void {
    this.irqs.push(`${gsi}=${level}`);
    this.levels.set(gsi, level);
  }

  /** The level of a line; low until something was said about it. */
  level(gsi: number): 0 | 1 {
    return this.levels.get(gsi) ?? 0;
  }

  requestReset(reason: string): void {
    this.resets.push(reason);
  }

  requestSleep(state: string): void {
    this.sleeps.push(state);
  }

  guestPanicked(what: string): void {
    this.panics.push(what);
  }

  guestClockNs(): bigint {
    return this.clockNs;
  }

  watchdogChanged(): void {
    this.watchdogChanges++;
  }

  rtcChanged(): void {
    this.rtcChanges++;
  }

  debugExit(code: number): void {
    this.exits.push(code);
  }

  wallClockMs(): number {
    return this.nowMs;
  }

  serialActivity(): void {
    this.serialActivities++;
  }
}
