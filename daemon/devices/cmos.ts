// Motorola MC146818A Real-Time Clock plus RAM: https://www.nxp.com/docs/en/data-sheet/MC146818.pdf
// Bytes of the RAM as PC BIOSes use them: Ralf Brown's Interrupt List, CMOS.LST

import type { AccessSize, Device, DeviceHost, PortDevice } from './device.js';
import { blockBytes, DEVICE_WORD_A, DeviceBlock } from './device_block.js';
import { type Bound, type DeviceState, defineLayout } from './layout.js';
import type { SharedLock } from './lock.js';

const INDEX_PORT = 0x70;
const DATA_PORT = 0x71;
const RAM_BYTES = 128;

const SECONDS = 0x00;
const MINUTES = 0x02;
const HOURS = 0x04;
const DAY_OF_WEEK = 0x06;
const DAY_OF_MONTH = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;
const CENTURY = 0x32;
const TIME_REGISTERS: ReadonlySet<number> = new Set([
  SECONDS,
  MINUTES,
  HOURS,
  DAY_OF_WEEK,
  DAY_OF_MONTH,
  MONTH,
  YEAR,
  CENTURY,
]);

const A_UIP = 0x80;
const A_DIVIDER = 0x70;
/** 32,768 Hz crystal, 1,024 Hz periodic rate: as firmware leaves it. */
const A_INITIAL = 0x26;
/** From here on (bits 6 and 5 set) the divider chain is held in reset. */
const DIVIDER_RESET = 0x60;

const B_SET = 0x80;
const B_PIE = 0x40;
const B_AIE = 0x20;
const B_UIE = 0x10;
const B_SQWE = 0x08;
const B_BINARY = 0x04;
const B_24_HOURS = 0x02;

const D_VALID = 0x80;
const HOUR_PM = 0x80;

/** An update takes 1,984 µs, and UIP rises 244 µs before (p. 12): the last 2.228 ms of each second. */
const UPDATE_MS = 2.228;
/** Dates beyond this are not dates (ECMA-262 §21.4.1.1). */
const MAX_DATE_MS = 8.64e15;

// What a BIOS leaves for the operating system.
const EQUIPMENT = 0x14;
const EQUIPMENT_FPU = 0x02;
const BASE_MEMORY_KIB = 0x15;
const EXTENDED_MEMORY_KIB = 0x17;
const EXTENDED_MEMORY_KIB_2 = 0x30;
/** Memory from 16 MiB to 4 GiB, in 64 KiB, as QEMU's pc tells it to SeaBIOS. */
const MEMORY_ABOVE_16M = 0x34;
/** Memory above 4 GiB, in 64 KiB, three bytes. */
const MEMORY_ABOVE_4G = 0x5b;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const layout = defineLayout({
  name: 'cmos',
  version: 1,
  fields: {
    index: { type: 'u8', max: RAM_BYTES - 1 },
    /** Registers A to D and RAM; the time registers only count while the clock is stopped. */
    ram: ['u8', RAM_BYTES],
    /** The guest's time minus the host's, milliseconds. */
    offsetMs: { type: 'f64', min: -2 * MAX_DATE_MS, max: 2 * MAX_DATE_MS },
  },
});

export interface CmosOptions {
  readonly ramBytes: number;
}

/**
 * The real-time clock and its RAM. Time is the host's plus an offset that the guest sets, so it goes on across a
 * migration. The clock raises no interrupts: periodic, alarm and update-ended flags stay clear.
 */
export class Cmos implements Device, PortDevice {
  static readonly byteLength = blockBytes(layout) + Float64Array.BYTES_PER_ELEMENT;

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 1;
  readonly pioRanges = [{ port: INDEX_PORT, length: 2 }];
  readonly #host: DeviceHost;
  readonly #ramBytes: number;
  readonly #lock: SharedLock;
  readonly #state: Bound<typeof layout>;
  /** DEVICE_WORD_A is 1 while a change has not been taken; the offset is that of the last one. */
  readonly #words: Int32Array;
  readonly #changedOffset: Float64Array;

  /** Over `byteLength` bytes at `byteOffset`, a multiple of 8. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, host: DeviceHost, options: CmosOptions) {
    const block = new DeviceBlock(layout, buffer, byteOffset);
    this.#host = host;
    this.#ramBytes = options.ramBytes;
    this.#lock = block.lock;
    this.#state = block.state;
    this.#words = block.words;
    this.#changedOffset = new Float64Array(buffer, byteOffset + blockBytes(layout), 1);
  }

  pioRead(port: number, _size: AccessSize): number {
    // The index is write-only: a PC reads ones.
    return port === DATA_PORT ? this.#lock.with(() => this.#read(this.#state.index)) : 0xff;
  }

  pioWrite(port: number, _size: AccessSize, value: number): void {
    this.#lock.with(() => {
      if (port === DATA_PORT) {
        this.#write(this.#state.index, value & 0xff);
      } else {
        this.#state.index = value & 0x7f; // bit 7 masks NMI, of which there are none
      }
    });
  }

  /** Whole seconds that the guest's time was ahead of the host's when it was last set; undefined if that has been taken already. */
  takeChange(): number | undefined {
    return this.#lock.with(() => {
      if (this.#words[DEVICE_WORD_A] === 0) return undefined;
      this.#words[DEVICE_WORD_A] = 0;
      return this.#changedOffset[0];
    });
  }

  /** The reset pin clears interrupt enables; time and RAM stay. Without valid RAM (at power-on) it is filled. */
  reset(): void {
    this.#lock.with(() => {
      const { ram } = this.#state;
      if ((ram[REGISTER_D]! & D_VALID) === 0) {
        this.#powerOn();
      }
      ram[REGISTER_B]! &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
      ram[REGISTER_C] = 0;
      this.#state.index = 0;
    });
  }

  save(): DeviceState {
    return this.#lock.with(() => this.#state.save());
  }

  load(doc: unknown): void {
    this.#lock.with(() => this.#state.load(doc));
  }

  reassertIrq(): void {}

  #powerOn(): void {
    const { ram } = this.#state;
    ram.fill(0);
    this.#state.offsetMs = 0;
    ram[REGISTER_A] = A_INITIAL;
    ram[REGISTER_B] = B_24_HOURS;
    ram[REGISTER_D] = D_VALID;
    ram[EQUIPMENT] = EQUIPMENT_FPU;
    const put = (at: number, bytes: number, value: number): void => {
      const clamped = Math.max(0, Math.min(Math.floor(value), 2 ** (8 * bytes) - 1));
      for (let i = 0; i < bytes; i++) {
        ram[at + i] = Math.floor(clamped / 2 ** (8 * i)) & 0xff;
      }
    };
    const low = Math.min(this.#ramBytes, 3 * GIB);
    put(BASE_MEMORY_KIB, 2, 640);
    put(EXTENDED_MEMORY_KIB, 2, (low - MIB) / KIB);
    put(EXTENDED_MEMORY_KIB_2, 2, (low - MIB) / KIB);
    put(MEMORY_ABOVE_16M, 2, (low - 16 * MIB) / (64 * KIB));
    put(MEMORY_ABOVE_4G, 3, (this.#ramBytes - low) / (64 * KIB));
  }

  #read(index: number): number {
    const { ram } = this.#state;
    if (TIME_REGISTERS.has(index) && this.#running()) {
      const [century, fields] = this.#encode(this.#nowMs());
      return index === CENTURY ? century : fields.get(index)!;
    }
    if (index === REGISTER_A) {
      return (ram[REGISTER_A]! & ~A_UIP) | (this.#updating() ? A_UIP : 0);
    }
    const value = ram[index]!;
    if (index === REGISTER_C) {
      ram[REGISTER_C] = 0; // reading acknowledges
    }
    return value;
  }

  #write(index: number, value: number): void {
    const { ram } = this.#state;
    if (index === REGISTER_C || index === REGISTER_D) {
      return; // read-only
    }
    if (index === REGISTER_A || index === REGISTER_B) {
      const wasRunning = this.#running();
      const dividerWasHeld = (ram[REGISTER_A]! & A_DIVIDER) >= DIVIDER_RESET;
      if (wasRunning) {
        this.#latch();
      }
      ram[index] = index === REGISTER_A ? value & ~A_UIP : value;
      if (this.#running()) {
        if (wasRunning) {
          return; // a change of format or rate does not touch the time
        }
        // The first update follows half a second after the divider is released (p. 13).
        const released = dividerWasHeld && index === REGISTER_A;
        this.#setTime(released ? 500 : fraction(this.#nowMs()));
      }
      return;
    }
    if (!TIME_REGISTERS.has(index)) {
      ram[index] = value;
      return;
    }
    if (!this.#running()) {
      ram[index] = value;
      return;
    }
    this.#latch();
    ram[index] = value;
    this.#setTime(fraction(this.#nowMs()));
  }

  #running(): boolean {
    const { ram } = this.#state;
    return (ram[REGISTER_B]! & B_SET) === 0 && (ram[REGISTER_A]! & A_DIVIDER) < DIVIDER_RESET;
  }

  #nowMs(): number {
    const now = this.#host.wallClockMs() + this.#state.offsetMs;
    return Math.max(-MAX_DATE_MS, Math.min(now, MAX_DATE_MS));
  }

  #updating(): boolean {
    return this.#running() && fraction(this.#nowMs()) >= 1000 - UPDATE_MS;
  }

  /** Fills the time registers with the time, in the format that register B asks for. */
  #latch(): void {
    const [century, fields] = this.#encode(this.#nowMs());
    for (const [index, value] of fields) {
      this.#state.ram[index] = value;
    }
    this.#state.ram[CENTURY] = century;
  }

  /** Makes the time registers the time, `fractionMs` after the full second. */
  #setTime(fractionMs: number): void {
    const { ram } = this.#state;
    const rawHour = ram[HOURS]!;
    const twelveHours = (ram[REGISTER_B]! & B_24_HOURS) === 0;
    const hour = twelveHours
      ? (this.#decode(rawHour & ~HOUR_PM) % 12) + ((rawHour & HOUR_PM) !== 0 ? 12 : 0)
      : this.#decode(rawHour);
    // setUTCFullYear, unlike Date.UTC, does not take the years 0 to 99 for 1900 to 1999.
    const date = new Date(0);
    date.setUTCFullYear(
      this.#decode(ram[CENTURY]!) * 100 + this.#decode(ram[YEAR]!),
      this.#decode(ram[MONTH]!) - 1,
      this.#decode(ram[DAY_OF_MONTH]!),
    );
    date.setUTCHours(hour, this.#decode(ram[MINUTES]!), this.#decode(ram[SECONDS]!), 0);
    const hostMs = this.#host.wallClockMs();
    this.#state.offsetMs = date.getTime() + fractionMs - hostMs;
    this.#changedOffset[0] = date.getTime() / 1000 - Math.floor(hostMs / 1000);
    // However fast the guest sets it, one report is under way at a time.
    if (this.#words[DEVICE_WORD_A] === 0) this.#host.rtcChanged();
    this.#words[DEVICE_WORD_A] = 1;
  }

  #encode(timeMs: number): [century: number, fields: Map<number, number>] {
    const date = new Date(Math.floor(timeMs / 1000) * 1000);
    const hour = date.getUTCHours();
    const encoded = (value: number): number => this.#encodeNumber(value);
    const twelveHours = (this.#state.ram[REGISTER_B]! & B_24_HOURS) === 0;
    const hours = twelveHours ? encoded(hour % 12 || 12) | (hour >= 12 ? HOUR_PM : 0) : encoded(hour);
    // Two digits each, whatever the year: the registers hold no more.
    const year = ((date.getUTCFullYear() % 10000) + 10000) % 10000;
    const fields = new Map([
      [SECONDS, encoded(date.getUTCSeconds())],
      [MINUTES, encoded(date.getUTCMinutes())],
      [HOURS, hours],
      [DAY_OF_WEEK, encoded(date.getUTCDay() + 1)],
      [DAY_OF_MONTH, encoded(date.getUTCDate())],
      [MONTH, encoded(date.getUTCMonth() + 1)],
      [YEAR, encoded(year % 100)],
    ]);
    return [encoded(Math.floor(year / 100)), fields];
  }

  #encodeNumber(value: number): number {
    return (this.#state.ram[REGISTER_B]! & B_BINARY) !== 0 ? value : Math.floor(value / 10) * 16 + (value % 10);
  }

  #decode(value: number): number {
    return (this.#state.ram[REGISTER_B]! & B_BINARY) !== 0 ? value : (value >> 4) * 10 + (value & 0x0f);
  }
}

/** Milliseconds since the last full second, also before 1970. */
function fraction(timeMs: number): number {
  return timeMs - Math.floor(timeMs / 1000) * 1000;
}
