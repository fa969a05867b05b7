// The pvpanic device: QEMU, docs/specs/pvpanic.rst; values in the kernel's include/uapi/misc/pvpanic.h.

import type { AccessSize, Device, DeviceHost, PioRange, PortDevice } from './device.js';
import { type DeviceState, defineLayout } from './layout.js';

const PVPANIC_PANICKED = 0x01;
const PVPANIC_CRASH_LOADED = 0x02;

/** QEMU's members and defaults. */
export interface PvpanicOptions {
  readonly ioport: number;
  /** What the guest is told that it may report. */
  readonly events: number;
}
export const PVPANIC_DEFAULTS: PvpanicOptions = { ioport: 0x505, events: PVPANIC_PANICKED | PVPANIC_CRASH_LOADED };

const layout = defineLayout({ name: 'pvpanic', version: 1, fields: {} });

/** A port by which a guest says that its kernel has panicked. It has no state. */
export class Pvpanic implements Device, PortDevice {
  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 1;
  readonly pioRanges: readonly PioRange[];
  readonly #host: DeviceHost;
  readonly #events: number;
  readonly #state = layout.bind(new SharedArrayBuffer(0), 0);

  constructor(host: DeviceHost, { ioport, events }: PvpanicOptions = PVPANIC_DEFAULTS) {
    this.pioRanges = [{ port: ioport, length: 1 }];
    this.#host = host;
    this.#events = events;
  }

  pioRead(_port: number, _size: AccessSize): number {
    return this.#events;
  }

  pioWrite(_port: number, _size: AccessSize, value: number): void {
    if ((value & PVPANIC_PANICKED) !== 0) this.#host.guestPanicked('panicked');
    else if ((value & PVPANIC_CRASH_LOADED) !== 0) this.#host.guestPanicked('crash-loaded');
  }

  reset(): void {}

  save(): DeviceState {
    return this.#state.save();
  }

  load(doc: unknown): void {
    this.#state.load(doc);
  }

  reassertIrq(): void {}
}
