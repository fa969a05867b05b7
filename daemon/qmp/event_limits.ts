/** A timer that was started, to be cancelled. Its handle must not keep the process alive. */
export interface Timers {
  start(action: () => void, ms: number): { cancel(): void };
}

/** Node's timers. */
export const TIMERS: Timers = {
  start(action, ms) {
    const timer = setTimeout(action, ms).unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

const LIMIT_MS = 1000;

/**
 * Events that the monitor of QEMU 7.2 lets through once a second (monitor/monitor.c), and the member of their data by
 * which they are told apart, if any.
 */
const LIMITED: ReadonlyMap<string, string | undefined> = new Map([
  ['RTC_CHANGE', undefined],
  ['WATCHDOG', undefined],
  ['BALLOON_CHANGE', undefined],
  ['QUORUM_REPORT_BAD', 'node-name'],
  ['QUORUM_FAILURE', undefined],
  ['VSERPORT_CHANGE', 'id'],
  ['MEMORY_DEVICE_SIZE_CHANGE', 'qom-path'],
]);

/** An event of which one was sent less than a second ago. */
interface Recent {
  timer: { cancel(): void };
  /** Sends the latest that came since, if any. */
  send: (() => void) | undefined;
}

/**
 * Holds back events that come too often, as QEMU does: the first goes out at once; of those that come within a second of
 * it only the latest does, when that second is over, and starts the next. This is for all clients together, whoever is
 * connected. What still waits when the server ends is lost.
 */
export class EventLimits {
  readonly #timers: Timers;
  readonly #recent = new Map<string, Recent>();

  constructor(timers: Timers = TIMERS) {
    this.#timers = timers;
  }

  /** Calls `send` now, later, or not at all. */
  pass(event: string, data: object | undefined, send: () => void): void {
    if (!LIMITED.has(event)) {
      send();
      return;
    }
    const member = LIMITED.get(event);
    const key = member === undefined ? event : `${event} ${(data as { [name: string]: unknown })[member]}`;
    const recent = this.#recent.get(key);
    if (recent) {
      recent.send = send;
      return;
    }
    send();
    this.#recent.set(key, { send: undefined, timer: this.#later(key) });
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#recent.values()) timer.cancel();
    this.#recent.clear();
  }

  #later(key: string): { cancel(): void } {
    return this.#timers.start(() => this.#secondOver(key), LIMIT_MS);
  }

  #secondOver(key: string): void {
    const recent = this.#recent.get(key) as Recent;
    const { send } = recent;
    if (!send) {
      this.#recent.delete(key);
      return;
    }
    recent.send = undefined;
    recent.timer = this.#later(key);
    send();
  }
}
