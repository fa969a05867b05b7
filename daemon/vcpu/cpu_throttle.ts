/** Takes a share of their time from all vCPUs, as QEMU's auto-converge does (softmmu/cpu-throttle.c). */
import type { VcpuThread } from './vcpu_thread.js';

/** How long a vCPU runs between two of its sleeps. */
export const TIMESLICE_MS = 10;

/** How long each sleep is where `percent` of the time are taken. */
export function sleepMs(percent: number): number {
  return (TIMESLICE_MS * percent) / (100 - percent);
}

export class CpuThrottle implements Disposable {
  readonly #vcpus: readonly Pick<VcpuThread, 'sleep'>[];
  #percent = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(vcpus: readonly Pick<VcpuThread, 'sleep'>[]) {
    this.#vcpus = vcpus;
  }

  /** The share now; 0: none. */
  get percent(): number {
    return this.#percent;
  }

  /** @param percent 0 to 99 */
  set(percent: number): void {
    if (percent === this.#percent) return;
    this.#percent = percent;
    clearInterval(this.#timer);
    if (percent === 0) return;
    const ms = sleepMs(percent);
    this.#timer = setInterval(() => {
      for (const vcpu of this.#vcpus) vcpu.sleep(ms);
    }, TIMESLICE_MS + ms);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    this.set(0);
  }
}
