// 8042 keyboard controller of the IBM PC/AT: IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and
// Auxiliary Device Controller"; https://wiki.osdev.org/I8042_PS/2_Controller

import type { AccessSize, Device, DeviceHost, PortDevice } from './device.js';
import { blockBytes, DeviceBlock, type IrqLine } from './device_block.js';
import { type Bound, type DeviceState, defineLayout } from './layout.js';
import type { SharedLock } from './lock.js';

const DATA_PORT = 0x60;
const STATUS_PORT = 0x64;
const KEYBOARD_GSI = 1;

const STATUS_OBF = 0x01;
const STATUS_SYSTEM = 0x04;
const STATUS_COMMAND = 0x08;
const STATUS_UNLOCKED = 0x10;
const STATUS_AUX_DATA = 0x20;
const STATUS_TIMEOUT = 0x40;
/** What belongs to the byte in the output buffer. */
const STATUS_OF_DATA = STATUS_OBF | STATUS_AUX_DATA | STATUS_TIMEOUT;

const CTR_KEYBOARD_INTERRUPT = 0x01;
const CTR_SYSTEM = 0x04;
const CTR_KEYBOARD_DISABLED = 0x10;
const CTR_AUX_DISABLED = 0x20;
const CTR_TRANSLATE = 0x40;
/** As firmware leaves it: keyboard on, with interrupt and translation. */
const CTR_INITIAL = CTR_KEYBOARD_INTERRUPT | CTR_SYSTEM | CTR_AUX_DISABLED | CTR_TRANSLATE;

const OUTPUT_PORT_NO_RESET = 0x01;
const OUTPUT_PORT_A20 = 0x02;

// Commands to port 0x64.
const READ_CTR = 0x20;
const WRITE_CTR = 0x60;
const DISABLE_AUX = 0xa7;
const ENABLE_AUX = 0xa8;
const TEST_AUX = 0xa9;
const SELF_TEST = 0xaa;
const TEST_KEYBOARD = 0xab;
const DISABLE_KEYBOARD = 0xad;
const ENABLE_KEYBOARD = 0xae;
const READ_INPUT_PORT = 0xc0;
const READ_OUTPUT_PORT = 0xd0;
const WRITE_OUTPUT_PORT = 0xd1;
const WRITE_KEYBOARD_BUFFER = 0xd2;
const WRITE_AUX_BUFFER = 0xd3;
const WRITE_AUX = 0xd4;
/** 0xf0 to 0xff pulse the lines whose bit is clear; bit 0 is the reset line. */
const PULSE_OUTPUT_PORT = 0xf0;

const SELF_TEST_PASSED = 0x55;
const KEYBOARD_TEST_PASSED = 0x00;
/** "Clock line stuck low": the answer that makes Linux give up on an auxiliary port at once. */
const AUX_TEST_FAILED = 0x01;
const INPUT_PORT_UNLOCKED = 0x80;
/** What the controller answers for a device that is not there, with STATUS_TIMEOUT. */
const RESEND = 0xfe;

const layout = defineLayout({
  name: 'i8042',
  version: 1,
  fields: {
    status: 'u8',
    ctr: 'u8',
    outputPort: 'u8',
    data: 'u8',
    /** The command whose data byte is awaited at port 0x60; 0 if none. */
    command: 'u8',
  },
});

/** A keyboard controller without keyboard or mouse: drivers find that out without waiting, and 0xfe resets the machine. */
export class I8042 implements Device, PortDevice {
  static readonly byteLength = blockBytes(layout);

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 1;
  readonly pioRanges = [
    { port: DATA_PORT, length: 1 },
    { port: STATUS_PORT, length: 1 },
  ];
  readonly #host: DeviceHost;
  readonly #lock: SharedLock;
  readonly #line: IrqLine;
  readonly #state: Bound<typeof layout>;

  /** Over `byteLength` bytes at `byteOffset`, a multiple of 8. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, host: DeviceHost) {
    const block = new DeviceBlock(layout, buffer, byteOffset);
    this.#host = host;
    this.#lock = block.lock;
    this.#line = block.line(host, KEYBOARD_GSI);
    this.#state = block.state;
  }

  pioRead(port: number, _size: AccessSize): number {
    return this.#lock.with(() => {
      const s = this.#state;
      if (port === STATUS_PORT) {
        return s.status;
      }
      s.status &= ~STATUS_OF_DATA;
      this.#updateIrq();
      return s.data;
    });
  }

  pioWrite(port: number, _size: AccessSize, value: number): void {
    const byte = value & 0xff;
    const reset = this.#lock.with(() => {
      const isCommand = port === STATUS_PORT;
      const resets = isCommand ? this.#command(byte) : this.#data(byte);
      this.#state.status = isCommand ? this.#state.status | STATUS_COMMAND : this.#state.status & ~STATUS_COMMAND;
      this.#updateIrq();
      return resets;
    });
    if (reset) {
      this.#host.requestReset('keyboard controller');
    }
  }

  reset(): void {
    this.#lock.with(() => {
      const s = this.#state;
      s.status = STATUS_SYSTEM | STATUS_COMMAND | STATUS_UNLOCKED;
      s.ctr = CTR_INITIAL;
      s.outputPort = OUTPUT_PORT_NO_RESET | OUTPUT_PORT_A20;
      s.data = 0;
      s.command = 0;
      this.#updateIrq();
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

  /** Returns true if the machine is to be reset. */
  #command(command: number): boolean {
    const s = this.#state;
    s.command = 0;
    switch (command) {
      case READ_CTR:
        this.#answer(s.ctr);
        break;
      case DISABLE_AUX:
        s.ctr |= CTR_AUX_DISABLED;
        break;
      case ENABLE_AUX:
        s.ctr &= ~CTR_AUX_DISABLED;
        break;
      case TEST_AUX:
        this.#answer(AUX_TEST_FAILED);
        break;
      case SELF_TEST:
        s.status |= STATUS_SYSTEM;
        this.#answer(SELF_TEST_PASSED);
        break;
      case TEST_KEYBOARD:
        this.#answer(KEYBOARD_TEST_PASSED);
        break;
      case DISABLE_KEYBOARD:
        s.ctr |= CTR_KEYBOARD_DISABLED;
        break;
      case ENABLE_KEYBOARD:
        s.ctr &= ~CTR_KEYBOARD_DISABLED;
        break;
      case READ_INPUT_PORT:
        this.#answer(INPUT_PORT_UNLOCKED);
        break;
      case READ_OUTPUT_PORT:
        this.#answer(s.outputPort);
        break;
      case WRITE_CTR:
      case WRITE_OUTPUT_PORT:
      case WRITE_KEYBOARD_BUFFER:
      case WRITE_AUX_BUFFER:
      case WRITE_AUX:
        s.command = command;
        break;
      default:
        return (command & PULSE_OUTPUT_PORT) === PULSE_OUTPUT_PORT && (command & OUTPUT_PORT_NO_RESET) === 0;
    }
    return false;
  }

  /** Returns true if the machine is to be reset. */
  #data(byte: number): boolean {
    const s = this.#state;
    const command = s.command;
    s.command = 0;
    switch (command) {
      case WRITE_CTR:
        s.ctr = byte;
        return false;
      case WRITE_OUTPUT_PORT:
        s.outputPort = byte | OUTPUT_PORT_NO_RESET;
        return (byte & OUTPUT_PORT_NO_RESET) === 0;
      case WRITE_KEYBOARD_BUFFER:
      // Without an auxiliary port its loopback answers like the keyboard's, which is how Linux tells that there is none.
      case WRITE_AUX_BUFFER:
        this.#answer(byte);
        return false;
      case WRITE_AUX:
        this.#answer(RESEND, STATUS_TIMEOUT | STATUS_AUX_DATA);
        return false;
      default:
        // To the keyboard, which is not there. Writing to it switches its interface on.
        s.ctr &= ~CTR_KEYBOARD_DISABLED;
        this.#answer(RESEND, STATUS_TIMEOUT);
        return false;
    }
  }

  #answer(byte: number, flags = 0): void {
    this.#state.data = byte;
    this.#state.status = (this.#state.status & ~STATUS_OF_DATA) | STATUS_OBF | flags;
  }

  #level(): 0 | 1 {
    const { status, ctr } = this.#state;
    return (status & (STATUS_OBF | STATUS_AUX_DATA)) === STATUS_OBF && (ctr & CTR_KEYBOARD_INTERRUPT) !== 0 ? 1 : 0;
  }

  #updateIrq(): void {
    this.#line.set(this.#level());
  }
}
