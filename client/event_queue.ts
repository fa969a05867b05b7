/** Values kept for a consumer that does not keep up, unless it says otherwise. */
const CAPACITY = 4096;

export interface EventQueueOptions {
  /** Called once when the queue has ended. */
  readonly onEnd: () => void;
  /** Most values that are kept; beyond, the oldest are dropped. 4096 by default. */
  readonly capacity?: number | undefined;
}

/** An async iterator fed by push(). It ends, once empty, after end(). */
export class EventQueue<T> implements AsyncIterableIterator<T> {
  /** Values lost because the consumer did not keep up. */
  dropped = 0;
  readonly #onEnd: () => void;
  readonly #capacity: number;
  #values: T[] = [];
  #waiting: Array<(result: IteratorResult<T>) => void> = [];
  #ended = false;

  constructor({ onEnd, capacity = CAPACITY }: EventQueueOptions) {
    this.#onEnd = onEnd;
    this.#capacity = capacity;
  }

  push(value: T): void {
    if (this.#ended) return;
    const waiter = this.#waiting.shift();
    if (waiter) waiter({ value, done: false });
    else {
      this.#values.push(value);
      if (this.#values.length <= this.#capacity) return;
      this.#values.shift();
      this.dropped++;
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const waiter of this.#waiting) waiter({ value: undefined, done: true });
    this.#waiting = [];
    this.#onEnd();
  }

  async next(): Promise<IteratorResult<T>> {
    if (this.#values.length > 0) return { value: this.#values.shift() as T, done: false };
    if (this.#ended) return { value: undefined, done: true };
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async return(): Promise<IteratorResult<T>> {
    this.#values = [];
    this.end();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
