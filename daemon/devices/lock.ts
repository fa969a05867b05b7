// Futexes are tricky, U. Drepper (2011), §5: https://www.akkadia.org/drepper/futex.pdf

const FREE = 0;
const HELD = 1;
/** Held, and somebody may sleep on it. */
const CONTENDED = 2;

/** Critical sections take microseconds: a short spin mostly saves the sleep. */
const SPINS = 200;
/** Nobody holds a lock this long: a thread died inside. Better a clear error than a silent hang. */
const GIVE_UP_MS = 10_000;

/**
 * A mutual exclusion lock on one Int32 of shared memory, for threads of this process. Not recursive, not fair.
 * Zero is the free lock, so fresh shared memory needs no set-up. Everything written before `release` is seen
 * after the next `acquire`.
 */
export class SharedLock {
  readonly #words: Int32Array;
  readonly #index: number;
  readonly #giveUpMs: number;

  constructor(words: Int32Array, index: number, giveUpMs = GIVE_UP_MS) {
    this.#words = words;
    this.#index = index;
    this.#giveUpMs = giveUpMs;
  }

  /** Waits for the lock. Throws if its holder keeps it for longer than any holder ever does. */
  acquire(): void {
    const words = this.#words;
    const index = this.#index;
    for (let i = 0; i < SPINS; i++) {
      if (Atomics.compareExchange(words, index, FREE, HELD) === FREE) {
        return;
      }
    }
    while (Atomics.exchange(words, index, CONTENDED) !== FREE) {
      if (Atomics.wait(words, index, CONTENDED, this.#giveUpMs) === 'timed-out') {
        throw new Error(`a device lock was held for more than ${this.#giveUpMs} ms`);
      }
    }
  }

  release(): void {
    if (Atomics.exchange(this.#words, this.#index, FREE) === CONTENDED) {
      Atomics.notify(this.#words, this.#index, 1);
    }
  }

  /** Runs `body` with the lock held. */
  with<T>(body: () => T): T {
    this.acquire();
    try {
      return body();
    } finally {
      this.release();
    }
  }
}
