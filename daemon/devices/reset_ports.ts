// System control port A (0x92): IBM Personal System/2 Hardware Interface Technical Reference.
// Reset control register (0xcf9): Intel 82371AB (PIIX4) datasheet, 290562-001, §4.3.2.4 "RC—Reset Control Register".

import type { AccessSize, Device, DeviceHost, PortDevice } from './device.js';
import { blockBytes, DeviceBlock } from './device_block.js';
import { type Bound, type DeviceState, defineLayout } from './layout.js';
import type { SharedLock } from './lock.js';

const CONTROL_PORT_A = 0x92;
const RESET_CONTROL = 0xcf9;

const FAST_RESET = 0x01;
const FAST_A20 = 0x02;

const RCR_HARD_RESET = 0x02;
const RCR_RESET_CPU = 0x04;

const layout = defineLayout({
  name: 'reset-ports',
  version: 1,
  fields: {
    controlA: { type: 'u8', max: FAST_RESET | FAST_A20 },
    rcr: { type: 'u8', max: RCR_HARD_RESET },
  },
});

/** The two ports of a PC chipset that reset it. The A20 gate is always open; its bit only remembers what was written. */
export class ResetPorts implements Device, PortDevice {
  static readonly byteLength = blockBytes(layout);

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 1;
  readonly pioRanges = [
    { port: CONTROL_PORT_A, length: 1 },
    { port: RESET_CONTROL, length: 1 },
  ];
  readonly #host: DeviceHost;
  readonly #lock: SharedLock;
  readonly #state: Bound<typeof layout>;

  /** Over `byteLength` bytes at `byteOffset`, a multiple of 8. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, host: DeviceHost) {
    const block = new DeviceBlock(layout, buffer, byteOffset);
    this.#host = host;
    this.#lock = block.lock;
    this.#state = block.state;
  }

  pioRead(port: number, _size: AccessSize): number {
    return this.#lock.with(() => (port === CONTROL_PORT_A ? this.#state.controlA : this.#state.rcr));
  }

  pioWrite(port: number, _size: AccessSize, value: number): void {
    const reason = this.#lock.with(() => {
      const s = this.#state;
      if (port === CONTROL_PORT_A) {
        const rising = value & ~s.controlA & FAST_RESET;
        s.controlA = value & (FAST_RESET | FAST_A20);
        return rising !== 0 ? 'port 0x92' : undefined;
      }
      s.rcr = value & RCR_HARD_RESET;
      return (value & RCR_RESET_CPU) !== 0 ? 'port 0xcf9' : undefined;
    });
    if (reason !== undefined) {
      this.#host.requestReset(reason);
    }
  }

  reset(): void {
    this.#lock.with(() => {
      this.#state.controlA = FAST_A20;
      this.#state.rcr = 0;
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
