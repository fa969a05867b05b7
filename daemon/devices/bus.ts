import type { AccessSize, MmioDevice, PortDevice } from './device.js';

// Words of the counters' block.
const PIO_READS = 0;
const PIO_WRITES = 1;
const MMIO_READS = 2;
const MMIO_WRITES = 3;
const LAST_PORT = 4;
const LAST_GPA_LOW = 5;
const LAST_GPA_HIGH = 6;
const WORDS = 8;

/** Accesses that no device answered, modulo 2^32, and where the last ones went. */
export interface UnhandledAccesses {
  readonly pioReads: number;
  readonly pioWrites: number;
  readonly mmioReads: number;
  readonly mmioWrites: number;
  readonly lastPort: number;
  readonly lastGpa: number;
}

/** Counters in shared memory: every vCPU thread adds to them, anybody may read them. */
export class BusCounters {
  static readonly byteLength = WORDS * 4;
  readonly #words: Uint32Array;

  /** `byteOffset` is a multiple of 4. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number) {
    this.#words = new Uint32Array(buffer, byteOffset, WORDS);
  }

  countPio(isWrite: boolean, port: number): void {
    Atomics.add(this.#words, isWrite ? PIO_WRITES : PIO_READS, 1);
    Atomics.store(this.#words, LAST_PORT, port);
  }

  countMmio(isWrite: boolean, gpa: number): void {
    Atomics.add(this.#words, isWrite ? MMIO_WRITES : MMIO_READS, 1);
    Atomics.store(this.#words, LAST_GPA_LOW, gpa % 2 ** 32);
    Atomics.store(this.#words, LAST_GPA_HIGH, Math.floor(gpa / 2 ** 32));
  }

  read(): UnhandledAccesses {
    const word = (i: number): number => Atomics.load(this.#words, i);
    return {
      pioReads: word(PIO_READS),
      pioWrites: word(PIO_WRITES),
      mmioReads: word(MMIO_READS),
      mmioWrites: word(MMIO_WRITES),
      lastPort: word(LAST_PORT),
      lastGpa: word(LAST_GPA_HIGH) * 2 ** 32 + word(LAST_GPA_LOW),
    };
  }
}

interface MmioEntry {
  readonly start: number;
  readonly end: number;
  readonly device: MmioDevice;
}

const PORTS = 0x10000;

/**
 * Ports and MMIO ranges to devices, one instance a vCPU thread. Data lie in the vCPU's kvm_run, little-endian, as
 * KVM_EXIT_IO and KVM_EXIT_MMIO leave them; nothing is copied or allocated on the way. An access belongs to the
 * device at its first byte; what goes beyond that device's range reads as ones. Nothing here throws on what a guest does.
 */
export class Bus {
  readonly #counters: BusCounters;
  /** Index into the two lists below, for every port; 0 is nobody. */
  readonly #portIndex = new Uint8Array(PORTS);
  readonly #portDevices: (PortDevice | undefined)[] = [undefined];
  readonly #portEnds: number[] = [0];
  readonly #mmio: MmioEntry[] = [];
  #lastMmio: MmioEntry | undefined;

  constructor(counters: BusCounters) {
    this.#counters = counters;
  }

  /** Adds all port ranges of a device. Throws RangeError if one is taken or out of range. */
  addPio(device: PortDevice): void {
    for (const { port, length } of device.pioRanges) {
      if (port < 0 || length <= 0 || port + length > PORTS) {
        throw new RangeError(`I/O ports ${port} to ${port + length - 1} do not exist`);
      }
      if (this.#portIndex.subarray(port, port + length).some((index) => index !== 0)) {
        throw new RangeError(`I/O ports ${port} to ${port + length - 1} are taken`);
      }
      const index = this.#portDevices.push(device) - 1;
      if (index > 0xff) {
        throw new RangeError('too many I/O port ranges');
      }
      this.#portEnds.push(port + length);
      this.#portIndex.fill(index, port, port + length);
    }
  }

  /** Adds a device at [gpa, gpa + byteLength). Throws RangeError if that overlaps with another. */
  addMmio(gpa: number, byteLength: number, device: MmioDevice): void {
    const end = gpa + byteLength;
    if (gpa < 0 || byteLength <= 0 || !Number.isSafeInteger(end)) {
      throw new RangeError(`MMIO range ${gpa}, ${byteLength} bytes, is out of range`);
    }
    if (this.#mmio.some((entry) => gpa < entry.end && end > entry.start)) {
      throw new RangeError(`MMIO range ${gpa}, ${byteLength} bytes, is taken`);
    }
    this.#mmio.push({ start: gpa, end, device });
  }

  /**
   * KVM_EXIT_IO, in: `count` accesses of `size` bytes to one port (`rep ins` has a count above one). Fills
   * `size * count` bytes of `data` from `at` on. Returns false if nobody answered (ones are filled in).
   */
  pioIn(port: number, size: number, count: number, data: DataView, at: number): boolean {
    const index = this.#portIndex[port & 0xffff]!;
    const device = this.#portDevices[index];
    if (device === undefined) {
      this.#counters.countPio(false, port);
      fillOnes(data, at, size * count);
      return false;
    }
    // The usual exit: one byte.
    if (size === 1) {
      for (let i = 0; i < count; i++) {
        data.setUint8(at + i, device.pioRead(port, 1));
      }
      return true;
    }
    const end = this.#portEnds[index]!;
    for (let i = 0; i < count; i++) {
      for (let done = 0; done < size; ) {
        const width = chunk(Math.min(size - done, end - port - done, device.pioWidth));
        if (width === 0) {
          fillOnes(data, at + i * size + done, size - done);
          break;
        }
        put(data, at + i * size + done, width, device.pioRead(port + done, width));
        done += width;
      }
    }
    return true;
  }

  /** KVM_EXIT_IO, out: the counterpart of pioIn. Returns false if nobody took it. */
  pioOut(port: number, size: number, count: number, data: DataView, at: number): boolean {
    const index = this.#portIndex[port & 0xffff]!;
    const device = this.#portDevices[index];
    if (device === undefined) {
      this.#counters.countPio(true, port);
      return false;
    }
    if (size === 1) {
      for (let i = 0; i < count; i++) {
        device.pioWrite(port, 1, data.getUint8(at + i));
      }
      return true;
    }
    const end = this.#portEnds[index]!;
    for (let i = 0; i < count; i++) {
      for (let done = 0; done < size; ) {
        const width = chunk(Math.min(size - done, end - port - done, device.pioWidth));
        if (width === 0) {
          break;
        }
        device.pioWrite(port + done, width, get(data, at + i * size + done, width));
        done += width;
      }
    }
    return true;
  }

  /**
   * KVM_EXIT_MMIO, read: `length` bytes (1 to 8) of `data` from `at` on. Eight bytes are two accesses of four, low
   * half first (virtio v1.2 §4.2.2.2: drivers use 32-bit accesses). Returns false if nobody answered.
   */
  mmioRead(gpa: number, length: number, data: DataView, at: number): boolean {
    const entry = this.#findMmio(gpa);
    if (entry === undefined) {
      this.#counters.countMmio(false, gpa);
      fillOnes(data, at, length);
      return false;
    }
    for (let done = 0; done < length; ) {
      const width = chunk(Math.min(length - done, entry.end - gpa - done));
      if (width === 0) {
        fillOnes(data, at + done, length - done);
        break;
      }
      put(data, at + done, width, entry.device.mmioRead(gpa - entry.start + done, width));
      done += width;
    }
    return true;
  }

  /** KVM_EXIT_MMIO, write: the counterpart of mmioRead. */
  mmioWrite(gpa: number, length: number, data: DataView, at: number): boolean {
    const entry = this.#findMmio(gpa);
    if (entry === undefined) {
      this.#counters.countMmio(true, gpa);
      return false;
    }
    for (let done = 0; done < length; ) {
      const width = chunk(Math.min(length - done, entry.end - gpa - done));
      if (width === 0) {
        break;
      }
      entry.device.mmioWrite(gpa - entry.start + done, width, get(data, at + done, width));
      done += width;
    }
    return true;
  }

  #findMmio(gpa: number): MmioEntry | undefined {
    const last = this.#lastMmio;
    if (last !== undefined && gpa >= last.start && gpa < last.end) {
      return last;
    }
    const entry = this.#mmio.find((e) => gpa >= e.start && gpa < e.end);
    if (entry !== undefined) {
      this.#lastMmio = entry;
    }
    return entry;
  }
}

/** The widest access that is not wider than `bytes`; 0 if there is none. */
function chunk(bytes: number): AccessSize | 0 {
  return bytes >= 4 ? 4 : bytes >= 2 ? 2 : bytes >= 1 ? 1 : 0;
}

function put(data: DataView, at: number, size: AccessSize, value: number): void {
  if (size === 1) {
    data.setUint8(at, value);
  } else if (size === 2) {
    data.setUint16(at, value, true);
  } else {
    data.setUint32(at, value, true);
  }
}

function get(data: DataView, at: number, size: AccessSize): number {
  return size === 1 ? data.getUint8(at) : size === 2 ? data.getUint16(at, true) : data.getUint32(at, true);
}

function fillOnes(data: DataView, at: number, byteLength: number): void {
  for (let i = 0; i < byteLength; i++) {
    data.setUint8(at + i, 0xff);
  }
}
