/** Values kept for a consumer that does not keep up; beyond, the oldest are dropped. */
const CAPACITY = 4096;

/** An async iterator fed by push(). It ends, once empty, after end(). `onReturn` is called once when it is left. */
export class EventQueue<T> implements AsyncIterableIterator<T> {
  readonly #onReturn: () => void;
  #values: T[] = [];
  #waiting: Array<(result: IteratorResult<T>) => void> = [];
  #ended = false;

  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  push(value: T): void {
    if (this.#ended) return;
    const waiter = this.#waiting.shift();
    if (waiter) waiter({ value, done: false });
    else {
      this.#values.push(value);
      if (this.#values.length > CAPACITY) this.#values.shift();
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const waiter of this.#waiting) waiter({ value: undefined, done: true });
    this.#waiting = [];
    this.#onReturn();
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
