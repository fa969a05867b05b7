// Power management of the PIIX4: Intel 82371AB datasheet, 290562-001, §7.2 "Power management I/O space registers"; the registers are
// those of ACPI specification 6.5, §4.8.3.1 "PM1 event grouping" and §4.8.3.2 "PM1 control grouping".

import type { AccessSize, Device, DeviceHost, PortDevice, SleepingState } from './device.js';
import { blockBytes, DeviceBlock, type IrqLine } from './device_block.js';
import { type Bound, type DeviceState, defineLayout } from './layout.js';
import type { SharedLock } from './lock.js';

/** Where SeaBIOS puts the block on QEMU's pc. Here it always is, and nothing moves it: there is no PCI bus to do so. */
const PM_BASE = 0x600;
const STATUS = 0;
const ENABLE = 2;
const CONTROL = 4;
const BYTES = 6;

const SCI_GSI = 9;
const PWRBTN = 0x0100;
const WAK = 0x8000;
const SLP_EN = 0x2000;
const SLP_TYP_SHIFT = 10;
const SLP_TYP_MASK = 0x7;
/** By type, as QEMU's ACPI tables give them: soft-off, suspended to memory, suspended to disk. */
const SLEEPING_STATES = ['S5', 'S3', 'S4'] as const;

const layout = defineLayout({
  name: 'acpi-pm',
  version: 1,
  fields: { status: 'u16', enable: 'u16', control: 'u16' },
});

/** The PM1 registers: the power button and its interrupt, and the ways to sleep. */
export class AcpiPm implements Device, PortDevice {
  static readonly byteLength = blockBytes(layout);

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 2;
  readonly pioRanges = [{ port: PM_BASE, length: BYTES }];
  readonly #host: DeviceHost;
  readonly #lock: SharedLock;
  readonly #line: IrqLine;
  readonly #state: Bound<typeof layout>;

  /** Over `byteLength` bytes at `byteOffset`, a multiple of 8. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, host: DeviceHost) {
    const block = new DeviceBlock(layout, buffer, byteOffset);
    this.#host = host;
    this.#lock = block.lock;
    this.#line = block.line(host, SCI_GSI);
    this.#state = block.state;
  }

  pioRead(port: number, size: AccessSize): number {
    const offset = port - PM_BASE;
    return this.#lock.with(() => {
      const byte = (at: number): number => (this.#register(at & ~1) >> (8 * (at & 1))) & 0xff;
      return size === 1 ? byte(offset) : byte(offset) | (byte(offset + 1) << 8);
    });
  }

  pioWrite(port: number, size: AccessSize, value: number): void {
    const offset = port - PM_BASE;
    const sleep = this.#lock.with(() => {
      if ((offset & 1) === 0 && size === 2) return this.#write(offset, value & 0xffff, 0xffff);
      let asked: SleepingState | undefined;
      for (let i = 0; i < size; i++) {
        const shift = 8 * ((offset + i) & 1);
        const byte = (value >> (8 * i)) & 0xff;
        asked = this.#write((offset + i) & ~1, byte << shift, 0xff << shift) ?? asked;
      }
      return asked;
    });
    if (sleep) this.#host.requestSleep(sleep);
  }

  /** A user presses the button. As in QEMU, the guest finds out if it had enabled it. */
  pressPowerButton(): void {
    this.#lock.with(() => {
      if ((this.#state.enable & PWRBTN) === 0) return;
      this.#state.status |= PWRBTN;
      this.#line.set(this.#level());
    });
  }

  /** A user wakes the guest from S3. As in QEMU, it looks like the button. */
  wake(): void {
    this.#lock.with(() => {
      this.#state.status |= WAK | PWRBTN;
      this.#line.set(this.#level());
    });
  }

  reset(): void {
    this.#lock.with(() => {
      Object.assign(this.#state, { status: 0, enable: 0, control: 0 });
      this.#line.set(this.#level());
    });
  }

  save(): DeviceState {
    return this.#lock.with(() => this.#state.save());
  }

  load(doc: unknown): void {
    this.#lock.with(() => this.#state.load(doc));
  }

  reassertIrq(): void {
    this.#lock.with(() => this.#line.reassert(this.#level()));
  }

  #register(offset: number): number {
    const { status, enable, control } = this.#state;
    return offset === STATUS ? status : offset === ENABLE ? enable : offset === CONTROL ? control : 0;
  }

  /** Writes the bits of `mask`; returns the state that the guest asks for, if it asks for one. */
  #write(offset: number, value: number, mask: number): SleepingState | undefined {
    const s = this.#state;
    if (offset === CONTROL) {
      s.control = ((s.control & ~mask) | value) & ~SLP_EN; // SLP_EN is write-only
      return (value & SLP_EN) === 0 ? undefined : SLEEPING_STATES[(s.control >> SLP_TYP_SHIFT) & SLP_TYP_MASK];
    }
    if (offset === STATUS)
      s.status &= ~value; // writing a one clears
    else if (offset === ENABLE) s.enable = (s.enable & ~mask) | value;
    this.#line.set(this.#level());
    return undefined;
  }

  #level(): 0 | 1 {
    return (this.#state.status & this.#state.enable & PWRBTN) !== 0 ? 1 : 0;
  }
}
