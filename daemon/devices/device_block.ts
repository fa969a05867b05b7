import type { DeviceHost } from './device.js';
import type { BoundFields, FieldSpecs, Layout } from './layout.js';
import { SharedLock } from './lock.js';

const LOCK_WORD = 0;
const LINE_WORD = 1;
/** Words of this process, not of the guest: never saved. Their meaning is the device's own. */
export const DEVICE_WORD_A = 2;
export const DEVICE_WORD_B = 3;
const WORDS = 4;

/** Bytes of shared memory of a device with this layout, a multiple of 8. */
export function blockBytes(layout: { readonly byteLength: number }): number {
  return WORDS * 4 + layout.byteLength;
}

/** A device's block of shared memory: a lock, an interrupt line, two words for its own use, then its fields. */
export class DeviceBlock<F extends FieldSpecs> {
  readonly lock: SharedLock;
  readonly state: BoundFields<F>;
  readonly words: Int32Array;

  /** Over `blockBytes(layout)` bytes at `byteOffset`, a multiple of 8. */
  constructor(layout: Layout<F>, buffer: SharedArrayBuffer, byteOffset: number) {
    this.words = new Int32Array(buffer, byteOffset, WORDS);
    this.lock = new SharedLock(this.words, LOCK_WORD);
    this.state = layout.bind(buffer, byteOffset + WORDS * 4);
  }

  /** The device's interrupt line. */
  line(host: DeviceHost, gsi: number): IrqLine {
    return new IrqLine(this.words, LINE_WORD, host, gsi);
  }
}

/** An interrupt line whose last level is remembered in shared memory, so that only changes are passed on. */
export class IrqLine {
  readonly #words: Int32Array;
  readonly #index: number;
  readonly #host: DeviceHost;
  readonly #gsi: number;

  constructor(words: Int32Array, index: number, host: DeviceHost, gsi: number) {
    this.#words = words;
    this.#index = index;
    this.#host = host;
    this.#gsi = gsi;
  }

  /** With the device's lock held. */
  set(level: 0 | 1): void {
    if (this.#words[this.#index] !== level) {
      this.reassert(level);
    }
  }

  /** Passes the level on even if it is the last one. With the device's lock held. */
  reassert(level: 0 | 1): void {
    this.#words[this.#index] = level;
    this.#host.setIrq(this.#gsi, level);
  }
}
