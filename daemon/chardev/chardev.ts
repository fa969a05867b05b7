/** Where a serial port's bytes go to and come from. */

export interface Chardev {
  /**
   * Takes output. Resolves when more may come: a slow reader holds the guest's serial port back, nothing else.
   * Bytes for which nobody is connected are dropped, as on a wire.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** Registers who takes input; input that it does not take yet (returns fewer) is offered again by `resume`. */
  onInput(take: (bytes: Uint8Array) => number): void;
  /** There is room for input again. */
  resume(): void;
  close(): Promise<void>;
}

/** Input that waits to be taken, for chardevs that read streams. */
export class PendingInput {
  #take: ((bytes: Uint8Array) => number) | undefined;
  #waiting: Uint8Array = new Uint8Array(0);
  readonly #flow: { pause(): void; resume(): void };

  /** @param flow stops and restarts the source, so that no more than one chunk waits */
  constructor(flow: { pause(): void; resume(): void }) {
    this.#flow = flow;
  }

  onInput(take: (bytes: Uint8Array) => number): void {
    this.#take = take;
    this.offer();
  }

  /** A chunk arrived. */
  arrived(bytes: Uint8Array): void {
    this.#waiting = this.#waiting.length === 0 ? bytes : Buffer.concat([this.#waiting, bytes]);
    this.offer();
  }

  offer(): void {
    if (this.#waiting.length > 0 && this.#take) {
      this.#waiting = this.#waiting.subarray(this.#take(this.#waiting));
    }
    if (this.#waiting.length > 0) this.#flow.pause();
    else this.#flow.resume();
  }
}
