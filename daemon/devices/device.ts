import type { DeviceState } from './layout.js';

/** ACPI's: suspended to memory, suspended to disk, switched off. */
export type SleepingState = 'S3' | 'S4' | 'S5';

/** What a device does to the world outside its registers. Each thread that serves a device passes its own. */
export interface DeviceHost {
  /** Sets the level of an interrupt line. Called with the device's lock held, so that levels arrive in order. */
  setIrq(gsi: number, level: 0 | 1): void;
  /** The guest asked for a reset; `reason` names the way it did. */
  requestReset(reason: string): void;
  /** The guest sent itself to sleep. */
  requestSleep(state: SleepingState): void;
  /** The guest reported a panic, or that it writes a crash dump of its own. */
  guestPanicked(what: 'panicked' | 'crash-loaded'): void;
  /** The guest ended the run with a process exit code. */
  debugExit(code: number): void;
  /** Milliseconds since 1970-01-01 UTC. */
  wallClockMs(): number;
  /** Nanoseconds of the guest's clock, which stands still while the guest does. */
  guestClockNs(): bigint;
  /** The watchdog was started or stopped. */
  watchdogChanged(): void;
  /** The guest set the real-time clock: see Cmos.takeChange. */
  rtcChanged(): void;
  /** Serial output waits to be drained, or there is room for input that did not fit before. */
  serialActivity(): void;
}

/** Width of one access in bytes. */
export type AccessSize = 1 | 2 | 4;

/** A run of I/O ports. */
export interface PioRange {
  readonly port: number;
  readonly length: number;
}

/** Registers in port space. Values are unsigned; nothing a guest does makes these throw. */
export interface PortDevice {
  readonly pioRanges: readonly PioRange[];
  /** Widest access served at once; the bus splits wider ones. */
  readonly pioWidth: AccessSize;
  pioRead(port: number, size: AccessSize): number;
  pioWrite(port: number, size: AccessSize, value: number): void;
}

/** Registers in memory space, at an offset from wherever the bus puts them. Values are unsigned. */
export interface MmioDevice {
  mmioRead(offset: number, size: AccessSize): number;
  mmioWrite(offset: number, size: AccessSize, value: number): void;
}

/**
 * A device: logic over a block of shared memory. Any thread may make its own instance over the same block; each
 * method takes the block's lock itself. A block of zeros becomes a device at power-on by `reset()`.
 */
export interface Device {
  readonly name: string;
  /** Version of what `save` gives and `load` takes. */
  readonly version: number;
  /** What the reset line does. */
  reset(): void;
  /** The guest-visible state. */
  save(): DeviceState;
  /** Takes over a saved state, or throws DeviceStateError. Interrupt lines are left alone: see reassertIrq. */
  load(doc: unknown): void;
  /** Sets the device's interrupt line, if it has one, to the level that its state implies. */
  reassertIrq(): void;
}
