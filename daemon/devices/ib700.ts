// The watchdog of iBASE's IB700 boards, as QEMU has it (hw/watchdog/wdt_ib700.c); its driver: Linux, drivers/watchdog/ib700wdt.c.

import type { AccessSize, Device, DeviceHost, PortDevice } from './device.js';
import { blockBytes, DEVICE_WORD_A, DeviceBlock } from './device_block.js';
import { type Bound, type DeviceState, defineLayout } from './layout.js';
import type { SharedLock } from './lock.js';

const STOP_PORT = 0x441;
const START_PORT = 0x443;

/** The value written, 0 to 15, counts down from 30 seconds in steps of two. */
const MAX_SECONDS = 30;
const STEP_SECONDS = 2;
const NS_PER_SECOND = 1_000_000_000n;

const OFF = 0n;

const layout = defineLayout({
  name: 'ib700',
  version: 1,
  fields: {
    /** The guest's clock, in nanoseconds, when it expires; 0 while it is off. */
    deadlineNs: 'u64',
  },
});

/** A timer that the guest must start again and again. Its time is the guest's: it stands still while the guest does. */
export class Ib700 implements Device, PortDevice {
  static readonly byteLength = blockBytes(layout);

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 1;
  readonly pioRanges = [
    { port: STOP_PORT, length: 1 },
    { port: START_PORT, length: 1 },
  ];
  readonly #host: DeviceHost;
  readonly #lock: SharedLock;
  readonly #state: Bound<typeof layout>;
  /** DEVICE_WORD_A is 1 while a change has been reported and not looked at. */
  readonly #words: Int32Array;

  /** Over `byteLength` bytes at `byteOffset`, a multiple of 8. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, host: DeviceHost) {
    const block = new DeviceBlock(layout, buffer, byteOffset);
    this.#host = host;
    this.#lock = block.lock;
    this.#state = block.state;
    this.#words = block.words;
  }

  /** When it expires, by the guest's clock; undefined while it is off. Later changes are reported. */
  takeDeadlineNs(): bigint | undefined {
    return this.#lock.with(() => {
      this.#words[DEVICE_WORD_A] = 0;
      return this.#state.deadlineNs === OFF ? undefined : this.#state.deadlineNs;
    });
  }

  /** Switches it off if its time is over. @returns whether it was */
  expire(nowNs: bigint): boolean {
    return this.#lock.with(() => {
      if (this.#state.deadlineNs === OFF || this.#state.deadlineNs > nowNs) return false;
      this.#state.deadlineNs = OFF;
      return true;
    });
  }

  pioRead(_port: number, _size: AccessSize): number {
    return 0xff; // write-only
  }

  pioWrite(port: number, _size: AccessSize, value: number): void {
    this.#lock.with(() => {
      const seconds = MAX_SECONDS - STEP_SECONDS * (value & 0x0f);
      const deadline = this.#host.guestClockNs() + BigInt(seconds) * NS_PER_SECOND;
      // One nanosecond more, so that no deadline is 0.
      this.#state.deadlineNs = port === STOP_PORT ? OFF : deadline + 1n;
      // However fast the guest starts it, one report is under way at a time.
      if (this.#words[DEVICE_WORD_A] === 0) this.#host.watchdogChanged();
      this.#words[DEVICE_WORD_A] = 1;
    });
  }

  reset(): void {
    this.#lock.with(() => {
      this.#state.deadlineNs = OFF;
    });
  }

  save(): DeviceState {
    return this.#lock.with(() => this.#state.save());
  }

  load(doc: unknown): void {
    this.#lock.with(() => this.#state.load(doc));
  }

  reassertIrq(): void {}
}
