/** Carries bytes between a serial port's shared memory and a chardev. Runs on main. */
import type { Serial16550 } from '../devices/serial16550.js';
import type { Chardev } from './chardev.js';

const CHUNK_BYTES = 16384;

export class SerialConsole {
  readonly #serial: Serial16550;
  readonly #chardev: Chardev;
  #draining: Promise<void> | undefined;
  readonly #failed: (error: Error) => void;
  #held = false;

  /** @param failed told when the chardev could not take output: those bytes are lost, the guest goes on */
  constructor(serial: Serial16550, chardev: Chardev, failed: (error: Error) => void) {
    this.#serial = serial;
    this.#chardev = chardev;
    this.#failed = failed;
    chardev.onInput((bytes) => serial.receive(bytes));
  }

  /** Output waits, or there is room for input. */
  activity(): void {
    this.#chardev.resume();
    void this.drain();
  }

  /**
   * Takes no more output out of the port: what waits there belongs to its state, which a migration is about to carry.
   */
  hold(): void {
    this.#held = true;
  }

  /** Output goes on. `discard`: what waited was carried away, and is the destination's to write. */
  release(discard: boolean): void {
    if (!this.#held) return;
    this.#held = false;
    if (discard) while (this.#serial.drainTx(new Uint8Array(CHUNK_BYTES)) > 0);
    void this.drain();
  }

  /** Writes out all that waits; resolves when it is written. */
  drain(): Promise<void> {
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
      if (!this.#held && this.#serial.txPending > 0) void this.drain();
    });
    return this.#draining;
  }

  async #drain(): Promise<void> {
    while (!this.#held) {
      const chunk = new Uint8Array(CHUNK_BYTES);
      const n = this.#serial.drainTx(chunk);
      if (n === 0) return;
      try {
        await this.#chardev.write(chunk.subarray(0, n));
      } catch (error) {
        this.#failed(error as Error);
      }
    }
  }

  async close(): Promise<void> {
    await this.drain();
    await this.#chardev.close();
  }
}
