import { AcpiPm } from './acpi_pm.js';
import { Bus, BusCounters } from './bus.js';
import { Cmos } from './cmos.js';
import { DebugExit, type DebugExitOptions } from './debug_exit.js';
import type { Device, DeviceHost, PortDevice } from './device.js';
import { I8042 } from './i8042.js';
import { Ib700 } from './ib700.js';
import { type DeviceState, DeviceStateError, show } from './layout.js';
import { Pvpanic, type PvpanicOptions } from './pvpanic.js';
import { ResetPorts } from './reset_ports.js';
import { Serial16550 } from './serial16550.js';

/** What a machine has besides the devices that each has. */
export interface DeviceOptions {
  /** QEMU's `isa-debug-exit`, where asked for. */
  readonly debugExit?: DebugExitOptions | undefined;
  readonly pvpanic?: PvpanicOptions | undefined;
  /** A watchdog. */
  readonly ib700?: boolean | undefined;
}

/** All that a thread needs to attach to a machine's devices. It may be posted: the memory is shared, not copied. */
export interface DeviceSetup {
  readonly memory: SharedArrayBuffer;
  readonly ramBytes: number;
  readonly options: DeviceOptions;
}

// Where each device's block lies in the machine's shared memory; every thread computes the same. A cache line of
// its own for each keeps threads that serve different devices apart.
const COUNTERS = 0;
const I8042_BLOCK = COUNTERS + align(BusCounters.byteLength);
const RESET_PORTS_BLOCK = I8042_BLOCK + align(I8042.byteLength);
const CMOS_BLOCK = RESET_PORTS_BLOCK + align(ResetPorts.byteLength);
const SERIAL_BLOCK = CMOS_BLOCK + align(Cmos.byteLength);
const ACPI_PM_BLOCK = SERIAL_BLOCK + align(Serial16550.byteLength);
const IB700_BLOCK = ACPI_PM_BLOCK + align(AcpiPm.byteLength);
const END = IB700_BLOCK + align(Ib700.byteLength);

function align(byteLength: number): number {
  return Math.ceil(byteLength / 64) * 64;
}

/** Makes the devices of a machine with `ramBytes` of RAM, in the state of power-on. */
export function createDeviceSetup(ramBytes: number, options: DeviceOptions = {}): DeviceSetup {
  const setup = { memory: new SharedArrayBuffer(END), ramBytes, options };
  PcDevices.attach(setup, UNCONNECTED).reset();
  return setup;
}

/** A host whose devices have no effect. Main's own instances do by themselves nothing but set interrupt lines. */
export const UNCONNECTED: DeviceHost = {
  setIrq: () => {},
  requestReset: () => {},
  requestSleep: () => {},
  guestPanicked: () => {},
  debugExit: () => {},
  wallClockMs: () => 0,
  guestClockNs: () => 0n,
  watchdogChanged: () => {},
  rtcChanged: () => {},
  serialActivity: () => {},
};

/** The devices of the machine and the bus that leads to them. */
export class PcDevices {
  readonly bus: Bus;
  /** Accesses that no device answered, of all threads. */
  readonly counters: BusCounters;
  readonly serial: Serial16550;
  readonly cmos: Cmos;
  readonly acpiPm: AcpiPm;
  readonly watchdog: Ib700 | undefined;
  readonly all: readonly (Device & PortDevice)[];

  private constructor(setup: DeviceSetup, host: DeviceHost) {
    const { memory, ramBytes, options } = setup;
    this.counters = new BusCounters(memory, COUNTERS);
    this.bus = new Bus(this.counters);
    this.serial = new Serial16550(memory, SERIAL_BLOCK, host);
    this.cmos = new Cmos(memory, CMOS_BLOCK, host, { ramBytes });
    this.acpiPm = new AcpiPm(memory, ACPI_PM_BLOCK, host);
    this.watchdog = options.ib700 ? new Ib700(memory, IB700_BLOCK, host) : undefined;
    this.all = [
      new I8042(memory, I8042_BLOCK, host),
      new ResetPorts(memory, RESET_PORTS_BLOCK, host),
      this.cmos,
      this.serial,
      this.acpiPm,
      ...(options.debugExit === undefined ? [] : [new DebugExit(host, options.debugExit)]),
      ...(options.pvpanic === undefined ? [] : [new Pvpanic(host, options.pvpanic)]),
      ...(this.watchdog ? [this.watchdog] : []),
    ];
    for (const device of this.all) {
      this.bus.addPio(device);
    }
  }

  /** The devices as one thread serves them: their effects go to its own `host`. */
  static attach(setup: DeviceSetup, host: DeviceHost): PcDevices {
    return new PcDevices(setup, host);
  }

  /** Resets every device, as the machine's reset line does. All vCPUs are parked. */
  reset(): void {
    for (const device of this.all) {
      device.reset();
    }
  }

  /** The version of each device's state, by its name. */
  versions(): Record<string, number> {
    return Object.fromEntries(this.all.map((device) => [device.name, device.version]));
  }

  /** Every device's state by its name. All vCPUs are parked. */
  save(): Record<string, DeviceState> {
    return Object.fromEntries(this.all.map((device) => [device.name, device.save()]));
  }

  /**
   * Takes over what another machine's `save` gave. All vCPUs are parked. Throws DeviceStateError if a device is
   * missing, unknown or its state is not legal; some devices may then have changed, and the machine must not run.
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

  /** Sets every interrupt line to the level that its device's state implies: after the interrupt controllers are loaded. */
  reassertIrqs(): void {
    for (const device of this.all) {
      device.reassertIrq();
    }
  }
}
