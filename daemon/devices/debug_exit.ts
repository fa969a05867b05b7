// QEMU's isa-debug-exit (hw/misc/debugexit.c): a guest's way to end with an exit code.

import type { AccessSize, Device, DeviceHost, PioRange, PortDevice } from './device.js';
import { type DeviceState, defineLayout } from './layout.js';

const DEFAULT_PORT = 0x501;
const DEFAULT_PORTS = 2;

const layout = defineLayout({ name: 'debug-exit', version: 1, fields: {} });

/** Writing `v` ends the run with exit code `(v << 1) | 1`, which is never success. It has no state. */
export class DebugExit implements Device, PortDevice {
  static readonly byteLength = 0;

  readonly name = layout.name;
  readonly version = layout.version;
  readonly pioWidth = 2;
  readonly pioRanges: readonly PioRange[];
  readonly #host: DeviceHost;
  readonly #state = layout.bind(new SharedArrayBuffer(0), 0);

  constructor(host: DeviceHost, port = DEFAULT_PORT) {
    this.pioRanges = [{ port, length: DEFAULT_PORTS }];
    this.#host = host;
  }

  pioRead(_port: number, _size: AccessSize): number {
    return 0;
  }

  pioWrite(_port: number, _size: AccessSize, value: number): void {
    this.#host.debugExit((value << 1) | 1);
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
