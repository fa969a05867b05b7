/** A queue whose ends are both cheap, however long it is. */
export class Fifo<T> {
  #items: T[] = [];
  /** Items before this are gone. */
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.length > 0 && ++this.#head === this.#items.length) this.clear();
    return item;
  }

  /** Takes out everything that is left. */
  clear(): T[] {
    const rest = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    return rest;
  }
}
