/** `-device`: the devices there are, and their properties. A new device is one entry. */
import { DEBUG_EXIT_DEFAULTS } from '../devices/debug_exit.js';
import { PVPANIC_DEFAULTS } from '../devices/pvpanic.js';
import type { KeyValues } from './key_values.js';
import { UsageError } from './values.js';

const PORT = { min: 0, max: 0xffff };

/** By QEMU's name: how the properties of the device are read. */
const DEVICES = {
  'isa-debug-exit': (args: KeyValues) => ({
    iobase: args.number('iobase', { ...PORT, absent: DEBUG_EXIT_DEFAULTS.iobase }),
    iosize: args.number('iosize', { min: 1, max: 8, absent: DEBUG_EXIT_DEFAULTS.iosize }),
  }),
  pvpanic: (args: KeyValues) => ({
    ioport: args.number('ioport', { ...PORT, absent: PVPANIC_DEFAULTS.ioport }),
    events: args.number('events', { min: 0, max: 255, absent: PVPANIC_DEFAULTS.events }),
  }),
  ib700: () => ({}),
} as const;

type Driver = keyof typeof DEVICES;

/** One `-device`: the driver's name, its id if it has one, and its properties. */
export type DeviceOption = {
  [D in Driver]: { readonly driver: D; readonly id?: string } & Readonly<ReturnType<(typeof DEVICES)[D]>>;
}[Driver];

/** The device of that name that the command line asks for. */
export function findDevice<D extends Driver>(
  devices: readonly DeviceOption[],
  driver: D,
): Extract<DeviceOption, { driver: D }> | undefined {
  return devices.find((device): device is Extract<DeviceOption, { driver: D }> => device.driver === driver);
}

/** @throws UsageError for a device or a property that is none, and for a second device of a kind */
export function parseDevice(args: KeyValues, others: readonly DeviceOption[]): DeviceOption {
  const driver = args.required('driver');
  if (!Object.hasOwn(DEVICES, driver)) throw new UsageError(`-device: '${driver}' is not a device of vmhostd`);
  if (others.some((other) => other.driver === driver)) {
    throw new UsageError(`-device: there is a '${driver}' already, and one is all there can be`);
  }
  const id = args.take('id');
  const properties = DEVICES[driver as Driver](args);
  args.finish();
  return { driver, ...(id === undefined ? {} : { id }), ...properties } as DeviceOption;
}
