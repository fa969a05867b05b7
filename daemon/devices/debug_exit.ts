// QEMU's isa-debug-exit (hw/misc/debugexit.c): a guest's way to end with an exit code.

import type { AccessSize, Device, DeviceHost, PioRange, PortDevice } from './device.js';
import { type DeviceState, defineLayout } from './layout.js';

/** Where it is; QEMU's members and defaults. */
export interface DebugExitOptions {
  readonly iobase: number;
  readonly iosize: number;
}
export const DEBUG_EXIT_DEFAULTS: DebugExitOptions = { iobase: 0x501, iosize: 2 };

const layout = defineLayout({ name: 'debug-exit', version: 1, fields: {} });

/** Writing `v` ends the run with exit code `(v << 1) | 1`, of 32 bits, which is never success. It has no state. */
export class DebugExit implements Device, PortDevice {
  static readonly byteLength = 0;

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 4;
  readonly pioRanges: readonly PioRange[];
  readonly #host: DeviceHost;
  readonly #state = layout.bind(new SharedArrayBuffer(0), 0);

  constructor(host: DeviceHost, { iobase, iosize }: DebugExitOptions = DEBUG_EXIT_DEFAULTS) {
    this.pioRanges = [{ port: iobase, length: iosize }];
    this.#host = host;
  }

  pioRead(_port: number, _size: AccessSize): number {
    return 0;
  }

  pioWrite(_port: number, _size: AccessSize, value: number): void {
    this.#host.debugExit(((value << 1) | 1) >>> 0);
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
