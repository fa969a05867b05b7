// PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs, National Semiconductor, 1995:
// https://www.ti.com/lit/ds/symlink/pc16550d.pdf (section numbers below are its own)

import { ByteRing } from './byte_ring.js';
import type { AccessSize, Device, DeviceHost, PioRange, PortDevice } from './device.js';
import { blockBytes, DEVICE_WORD_A, DEVICE_WORD_B, DeviceBlock, type IrqLine } from './device_block.js';
import { type Bound, type DeviceState, DeviceStateError, defineLayout, show } from './layout.js';
import type { SharedLock } from './lock.js';
import {
  FCR_CLEAR_RX,
  FCR_ENABLE,
  FCR_TRIGGER,
  IER,
  IER_MASK,
  IER_MSI,
  IER_RDI,
  IER_RLSI,
  IER_THRI,
  IIR_FCR,
  IIR_FIFO_ENABLED,
  IIR_MSI,
  IIR_NONE,
  IIR_RDI,
  IIR_RLSI,
  IIR_THRI,
  IIR_TIMEOUT,
  LCR,
  LCR_DLAB,
  LSR,
  LSR_DR,
  LSR_OE,
  LSR_TEMT,
  LSR_THRE,
  MCR,
  MCR_DTR,
  MCR_LOOP,
  MCR_MASK,
  MCR_OUT1,
  MCR_OUT2,
  MCR_RTS,
  MSR,
  MSR_CONNECTED,
  MSR_CTS,
  MSR_DCD,
  MSR_DELTAS,
  MSR_DSR,
  MSR_RI,
  MSR_TERI,
  RBR_THR,
  RX_TRIGGER,
} from './serial16550_registers.js';

/** Divisor of 9600 baud. */
const DEFAULT_DIVISOR = 12;
const FIFO_BYTES = 16;
const TX_RING_BYTES = 0x10000;

const layout = defineLayout({
  name: 'serial0',
  version: 1,
  fields: {
    ier: { type: 'u8', max: IER_MASK },
    fcr: 'u8',
    lcr: 'u8',
    mcr: { type: 'u8', max: MCR_MASK },
    msr: 'u8',
    scr: 'u8',
    dll: 'u8',
    dlm: 'u8',
    /** LSR.OE; no other error can happen on a line made of memory. */
    overrun: { type: 'u8', max: 1 },
    /** The transmitter-empty interrupt waits to be read or acted upon (§8.5). */
    thriPending: { type: 'u8', max: 1 },
    rxFifo: ['u8', FIFO_BYTES],
    rxHead: { type: 'u8', max: FIFO_BYTES - 1 },
    rxCount: { type: 'u8', max: FIFO_BYTES },
    /** Bytes that the guest wrote in spite of LSR.THRE being low. */
    txDropped: 'u32',
  },
});

// Words that belong to this process, not to the guest.
/** `receive` had more than fitted: tell the host when there is room. */
const RX_WANTED = DEVICE_WORD_A;
/** LSR.THRE went low because the ring is full: draining it must raise the interrupt. */
const TX_HELD = DEVICE_WORD_B;

const RING_OFFSET = blockBytes(layout);

export interface SerialOptions {
  readonly port: number;
  readonly gsi: number;
}

/** COM1. */
const COM1: SerialOptions = { port: 0x3f8, gsi: 4 };

/**
 * A 16550A. Transmission takes no time: what the guest writes goes into a ring that main drains (`drainTx`), and
 * LSR.THRE stays high while a full FIFO's worth fits. What main `receive`s goes into the receive FIFO; below
 * the trigger level the time-out interrupt (§8.4.A) comes at once instead of after four character times.
 * As in QEMU, OUT2 does not gate the interrupt line.
 */
export class Serial16550 implements Device, PortDevice {
  static readonly byteLength = RING_OFFSET + ByteRing.byteLength(TX_RING_BYTES);
  /** Bytes of output that may wait to be drained. */
  static readonly txCapacity = TX_RING_BYTES;

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 1;
  readonly pioRanges: readonly PioRange[];
  readonly #port: number;
  readonly #host: DeviceHost;
  readonly #words: Int32Array;
  readonly #lock: SharedLock;
  readonly #line: IrqLine;
  readonly #state: Bound<typeof layout>;
  readonly #tx: ByteRing;

  /** Over `byteLength` bytes at `byteOffset`, a multiple of 8. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, host: DeviceHost, options: SerialOptions = COM1) {
    this.pioRanges = [{ port: options.port, length: 8 }];
    this.#port = options.port;
    this.#host = host;
    const block = new DeviceBlock(layout, buffer, byteOffset);
    this.#words = block.words;
    this.#lock = block.lock;
    this.#line = block.line(host, options.gsi);
    this.#state = block.state;
    this.#tx = new ByteRing(buffer, byteOffset + RING_OFFSET, TX_RING_BYTES);
  }

  pioRead(port: number, _size: AccessSize): number {
    this.#lock.acquire();
    let value: number;
    let roomForInput = false;
    try {
      value = this.#read(port - this.#port);
      roomForInput = this.#takeRoomForInput();
    } finally {
      this.#lock.release();
    }
    if (roomForInput) {
      this.#host.serialActivity();
    }
    return value;
  }

  pioWrite(port: number, _size: AccessSize, value: number): void {
    this.#lock.acquire();
    let active = false;
    try {
      active = this.#write(port - this.#port, value & 0xff);
      active = this.#takeRoomForInput() || active;
    } finally {
      this.#lock.release();
    }
    if (active) {
      this.#host.serialActivity();
    }
  }

  /**
   * Puts bytes from outside into the receive FIFO; returns how many fitted. If not all did, `serialActivity` is
   * called once there is room again.
   */
  receive(bytes: Uint8Array): number {
    return this.#lock.with(() => {
      const s = this.#state;
      // In loopback the receiver is cut off from the line (§8.6.4).
      const room = (s.mcr & MCR_LOOP) !== 0 ? 0 : this.#rxCapacity() - s.rxCount;
      const count = Math.min(Math.max(room, 0), bytes.length);
      for (let i = 0; i < count; i++) {
        this.#pushRx(bytes[i]!);
      }
      this.#words[RX_WANTED] = count < bytes.length ? 1 : 0;
      this.#updateIrq();
      return count;
    });
  }

  /**
   * Takes output of the guest; returns how many bytes were put into `target`. After `serialActivity`, call it until it
   * returns 0: no later call announces what is left. One thread only.
   */
  drainTx(target: Uint8Array): number {
    const count = this.#tx.drain(target);
    if (Atomics.load(this.#words, TX_HELD) === 1) {
      this.#lock.with(() => this.#resumeTx());
    }
    return count;
  }

  /** Bytes of output that wait. */
  get txPending(): number {
    return this.#tx.length;
  }

  /** Output that already left the guest stays in the ring. */
  reset(): void {
    const roomForInput = this.#lock.with(() => {
      const s = this.#state;
      s.ier = 0;
      s.fcr = 0;
      s.lcr = 0;
      s.mcr = 0;
      s.msr = MSR_CONNECTED;
      s.scr = 0;
      s.dll = DEFAULT_DIVISOR;
      s.dlm = 0;
      s.overrun = 0;
      s.thriPending = 0;
      this.#clearRx();
      this.#updateIrq();
      return this.#takeRoomForInput();
    });
    if (roomForInput) {
      this.#host.serialActivity();
    }
  }

  /** The registers, and as `tx` the output that nobody has drained yet (hexadecimal): drain first, and it is empty. */
  save(): DeviceState {
    return this.#lock.with(() => ({
      ...this.#state.save(),
      tx: Buffer.from(this.#tx.peekAll()).toString('hex'),
    }));
  }

  load(doc: unknown): void {
    const { tx, ...registers } = Object(doc) as Record<string, unknown>;
    if (typeof tx !== 'string' || tx.length > 2 * TX_RING_BYTES || !/^([0-9a-f]{2})*$/.test(tx)) {
      throw new DeviceStateError(this.name, 'tx', `is not a hexadecimal string of bytes but ${show(tx)}`);
    }
    this.#lock.with(() => {
      this.#state.load(registers);
      this.#tx.replaceAll(Buffer.from(tx, 'hex'));
      Atomics.store(this.#words, TX_HELD, this.#tx.free < FIFO_BYTES ? 1 : 0);
    });
    if (tx.length > 0) {
      this.#host.serialActivity();
    }
  }

  reassertIrq(): void {
    this.#lock.with(() => this.#line.reassert(this.#interruptId() === IIR_NONE ? 0 : 1));
  }

  #read(register: number): number {
    const s = this.#state;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    switch (register) {
      case RBR_THR:
        return dlab ? s.dll : this.#readRbr();
      case IER:
        return dlab ? s.dlm : s.ier;
      case IIR_FCR: {
        const id = this.#interruptId();
        if (id === IIR_THRI) {
          s.thriPending = 0;
          this.#updateIrq();
        }
        return id | ((s.fcr & FCR_ENABLE) !== 0 ? IIR_FIFO_ENABLED : 0);
      }
      case LCR:
        return s.lcr;
      case MCR:
        return s.mcr;
      case LSR: {
        const value = this.#lineStatus();
        if (s.overrun !== 0) {
          s.overrun = 0;
          this.#updateIrq();
        }
        return value;
      }
      case MSR: {
        const value = s.msr;
        s.msr = value & ~MSR_DELTAS;
        this.#updateIrq();
        return value;
      }
      default:
        return s.scr;
    }
  }

  /** Returns true if the host must look for output. */
  #write(register: number, value: number): boolean {
    const s = this.#state;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    switch (register) {
      case RBR_THR:
        if (!dlab) {
          return this.#transmit(value);
        }
        s.dll = value;
        return false;
      case IER:
        if (dlab) {
          s.dlm = value;
        } else {
          this.#writeIer(value & IER_MASK);
        }
        return false;
      case IIR_FCR:
        this.#writeFcr(value);
        return false;
      case LCR:
        s.lcr = value;
        return false;
      case MCR:
        s.mcr = value & MCR_MASK;
        this.#updateModemStatus();
        this.#updateIrq();
        return false;
      case LSR:
      case MSR:
        return false; // for factory tests only (§8.4)
      default:
        s.scr = value;
        return false;
    }
  }

  #transmit(byte: number): boolean {
    const s = this.#state;
    // Writing clears the interrupt, the empty transmitter raises it anew: drivers of an edge-triggered line need the edge.
    s.thriPending = 0;
    this.#updateIrq();
    let wake = false;
    if ((s.mcr & MCR_LOOP) !== 0) {
      this.#pushRx(byte);
    } else {
      const result = this.#tx.push(byte);
      if (result === 'full') {
        s.txDropped++;
      }
      wake = result === 'pushedFirst';
    }
    this.#settleTx();
    this.#updateIrq();
    return wake;
  }

  /** LSR.THRE: the guest may write a whole FIFO after seeing it once. */
  #txReady(): boolean {
    return this.#tx.free >= FIFO_BYTES;
  }

  /** The transmitter has done what it could: raises the interrupt, or leaves that to the draining side. */
  #settleTx(): void {
    if (!this.#txReady()) {
      Atomics.store(this.#words, TX_HELD, 1);
      // The consumer may have made room before it could see the word: then this is ours to do.
      if (!this.#txReady()) {
        return;
      }
      Atomics.store(this.#words, TX_HELD, 0);
    }
    this.#state.thriPending = 1;
  }

  #resumeTx(): void {
    if (Atomics.load(this.#words, TX_HELD) === 1 && this.#txReady()) {
      Atomics.store(this.#words, TX_HELD, 0);
      this.#state.thriPending = 1;
      this.#updateIrq();
    }
  }

  #writeIer(value: number): void {
    const s = this.#state;
    const enabled = value & ~s.ier;
    s.ier = value;
    // Enabling the interrupt while the transmitter is empty raises it each time: Linux's 8250 driver tests for that.
    if ((enabled & IER_THRI) !== 0 && this.#txReady()) {
      s.thriPending = 1;
    }
    this.#updateIrq();
  }

  #writeFcr(value: number): void {
    const s = this.#state;
    // A change of mode empties the FIFOs; without bit 0 the other bits are not programmed (§8.3).
    const changed = ((value ^ s.fcr) & FCR_ENABLE) !== 0;
    if (changed || (value & (FCR_ENABLE | FCR_CLEAR_RX)) === (FCR_ENABLE | FCR_CLEAR_RX)) {
      this.#clearRx();
    }
    s.fcr = (value & FCR_ENABLE) !== 0 ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
    this.#updateIrq();
  }

  #updateModemStatus(): void {
    const s = this.#state;
    let lines = MSR_CONNECTED;
    if ((s.mcr & MCR_LOOP) !== 0) {
      // §8.6.4: the four outputs are wired to the four inputs.
      lines =
        ((s.mcr & MCR_RTS) !== 0 ? MSR_CTS : 0) |
        ((s.mcr & MCR_DTR) !== 0 ? MSR_DSR : 0) |
        ((s.mcr & MCR_OUT1) !== 0 ? MSR_RI : 0) |
        ((s.mcr & MCR_OUT2) !== 0 ? MSR_DCD : 0);
    }
    let deltas = ((lines ^ s.msr) >> 4) & MSR_DELTAS;
    if ((lines & MSR_RI) !== 0) {
      deltas &= ~MSR_TERI; // only the trailing edge of RI counts
    }
    s.msr = lines | (s.msr & MSR_DELTAS) | deltas;
  }

  #rxCapacity(): number {
    return (this.#state.fcr & FCR_ENABLE) !== 0 ? FIFO_BYTES : 1;
  }

  #pushRx(byte: number): void {
    const s = this.#state;
    if (s.rxCount >= this.#rxCapacity()) {
      s.overrun = 1;
      return;
    }
    s.rxFifo[(s.rxHead + s.rxCount) % FIFO_BYTES] = byte;
    s.rxCount++;
  }

  #readRbr(): number {
    const s = this.#state;
    if (s.rxCount === 0) {
      return 0;
    }
    const byte = s.rxFifo[s.rxHead]!;
    s.rxHead = (s.rxHead + 1) % FIFO_BYTES;
    s.rxCount--;
    this.#updateIrq();
    return byte;
  }

  #clearRx(): void {
    this.#state.rxHead = 0;
    this.#state.rxCount = 0;
  }

  #takeRoomForInput(): boolean {
    const s = this.#state;
    if (this.#words[RX_WANTED] !== 1 || s.rxCount > 0 || (s.mcr & MCR_LOOP) !== 0) {
      return false;
    }
    this.#words[RX_WANTED] = 0;
    return true;
  }

  #lineStatus(): number {
    const s = this.#state;
    return (s.rxCount > 0 ? LSR_DR : 0) | (s.overrun !== 0 ? LSR_OE : 0) | (this.#txReady() ? LSR_THRE | LSR_TEMT : 0);
  }

  #interruptId(): number {
    const s = this.#state;
    if ((s.ier & IER_RLSI) !== 0 && s.overrun !== 0) {
      return IIR_RLSI;
    }
    if ((s.ier & IER_RDI) !== 0 && s.rxCount > 0) {
      const trigger = (s.fcr & FCR_ENABLE) !== 0 ? RX_TRIGGER[s.fcr >> 6]! : 1;
      return s.rxCount >= trigger ? IIR_RDI : IIR_TIMEOUT;
    }
    if ((s.ier & IER_THRI) !== 0 && s.thriPending !== 0) {
      return IIR_THRI;
    }
    if ((s.ier & IER_MSI) !== 0 && (s.msr & MSR_DELTAS) !== 0) {
      return IIR_MSI;
    }
    return IIR_NONE;
  }

  #updateIrq(): void {
    this.#line.set(this.#interruptId() === IIR_NONE ? 0 : 1);
  }
}
