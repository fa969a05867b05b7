import { Bus, BusCounters } from './bus.js';
import { Cmos } from './cmos.js';
import { DebugExit } from './debug_exit.js';
import type { Device, DeviceHost, PortDevice } from './device.js';
import { I8042 } from './i8042.js';
import { type DeviceState, DeviceStateError, show } from './layout.js';
import { ResetPorts } from './reset_ports.js';
import { Serial16550 } from './serial16550.js';

// Where each device's block lies in the machine's shared memory; every thread computes the same.
const COUNTERS = 0;
const I8042_BLOCK = COUNTERS + align(BusCounters.byteLength);
const RESET_PORTS_BLOCK = I8042_BLOCK + align(I8042.byteLength);
const CMOS_BLOCK = RESET_PORTS_BLOCK + align(ResetPorts.byteLength);
const SERIAL_BLOCK = CMOS_BLOCK + align(Cmos.byteLength);
const END = SERIAL_BLOCK + align(Serial16550.byteLength);

function align(byteLength: number): number {
  return Math.ceil(byteLength / 64) * 64;
}

/**
 * The devices of the machine and the bus that leads to them. Each thread makes one over the same shared memory,
 * with its own host; one of them calls `reset` before the first vCPU runs.
 */
export class PcDevices {
  /** Bytes of shared memory, zeroed, that a machine's devices take. */
  static readonly byteLength = END;

  readonly bus: Bus;
  readonly counters: BusCounters;
  readonly serial: Serial16550;
  readonly all: readonly (Device & PortDevice)[];

  constructor(buffer: SharedArrayBuffer, host: DeviceHost, options: { readonly ramBytes: number }) {
    this.counters = new BusCounters(buffer, COUNTERS);
    this.bus = new Bus(this.counters);
    this.serial = new Serial16550(buffer, SERIAL_BLOCK, host);
    this.all = [
      new I8042(buffer, I8042_BLOCK, host),
      new ResetPorts(buffer, RESET_PORTS_BLOCK, host),
      new Cmos(buffer, CMOS_BLOCK, host, options),
      this.serial,
      new DebugExit(host),
    ];
    for (const device of this.all) {
      this.bus.addPio(device);
    }
  }

  /** Resets every device, as the machine's reset line does. vCPUs are stopped. */
  reset(): void {
    for (const device of this.all) {
      device.reset();
    }
  }

  /** Every device's state by its name. vCPUs are stopped. */
  save(): Record<string, DeviceState> {
    return Object.fromEntries(this.all.map((device) => [device.name, device.save()]));
  }

  /**
   * Takes over the states of another machine's `save`. Throws DeviceStateError if a device is missing, unknown or
   * its state is not legal; some devices may then have changed, and the machine must not run.
   */
  load(doc: unknown): void {
    if (typeof doc !== 'object' || doc === null) {
      throw new DeviceStateError('machine', 'the document', `is not an object but ${show(doc)}`);
    }
    const states = new Map(Object.entries(doc));
    for (const device of this.all) {
      if (!states.has(device.name)) {
        throw new DeviceStateError(device.name, 'its state', 'is missing');
      }
      device.load(states.get(device.name));
      states.delete(device.name);
    }
    for (const name of states.keys()) {
      throw new DeviceStateError(show(name), 'its state', 'belongs to no device of this machine');
    }
  }

  /** Sets every interrupt line to what the devices' states imply: after the interrupt controllers are loaded. */
  reassertIrqs(): void {
    for (const device of this.all) {
      device.reassertIrq();
    }
  }
}
