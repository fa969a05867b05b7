/** What the command line says, in types. */

import { type CpuChoice, HOST_CPU } from '../machine/cpu_models.js';
import type { ChardevOption, MonitorOption } from './chardev_options.js';
import type { DeviceOption } from './device_options.js';
import type { CpuTopology } from './topology.js';

/** What QEMU's run-state actions may be (qapi/run-state.json). */
export const ACTIONS = {
  reboot: ['reset', 'shutdown'],
  shutdown: ['poweroff', 'pause'],
  panic: ['pause', 'shutdown', 'exit-failure', 'none'],
  watchdog: ['reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none', 'inject-nmi'],
} as const;

/** What happens when the guest resets itself, shuts itself down, panics, or lets its watchdog bark. */
export type Actions = { -readonly [event in keyof typeof ACTIONS]: (typeof ACTIONS)[event][number] };

/** A `-object` of a kind that others refer to by its id. */
export interface MemoryBackend {
  readonly kind: 'memory-backend-ram' | 'memory-backend-memfd';
  readonly id: string;
  readonly sizeBytes: number;
}

export interface DaemonOptions {
  /** `none`: no vCPU and no RAM. */
  machine: {
    type: 'pc' | 'none';
    memoryBackend?: MemoryBackend;
    /** Named on the command line; what runs a guest is always KVM. */
    accel?: 'kvm';
  };
  cpu: CpuChoice;
  ramBytes: number;
  /** How many vCPUs there are: all that the topology has room for. */
  vcpus: number;
  topology: CpuTopology;
  kernel?: string;
  initrd?: string;
  append: string;
  bios?: string;
  devices: DeviceOption[];
  /** Everything that bytes can come from and go to, by its id; -qmp, -monitor and -serial make some as QEMU's do. */
  chardevs: ChardevOption[];
  monitors: MonitorOption[];
  /** The id of the serial port's chardev. */
  serial?: string;
  /** A migration URI, or `defer`. */
  incoming?: string;
  /** `-S`. */
  paused: boolean;
  actions: Actions;
  name?: string;
  /** `-name process=`. */
  processName?: string;
  /** `-name debug-threads=on`: the threads of vCPUs have QEMU's names. */
  debugThreads: boolean;
  uuid: string;
  pidfile?: string;
  daemonize: boolean;
  /** `-msg timestamp=on`, `-msg guest-name=on`: what sentences on standard error begin with. */
  message: { timestamp: boolean; guestName: boolean };
}

const DEFAULT_RAM_BYTES = 128 * 2 ** 20;
/** A machine without a UUID says this one. */
export const ZERO_UUID = '00000000-0000-0000-0000-000000000000';

/** The options of a command line that says nothing: QEMU's defaults. */
export function defaultOptions(): DaemonOptions {
  return {
    machine: { type: 'pc' },
    cpu: HOST_CPU,
    ramBytes: DEFAULT_RAM_BYTES,
    vcpus: 1,
    topology: { sockets: 1, dies: 1, cores: 1, threads: 1 },
    append: '',
    devices: [],
    chardevs: [],
    monitors: [],
    paused: false,
    actions: { reboot: 'reset', shutdown: 'poweroff', panic: 'shutdown', watchdog: 'reset' },
    uuid: ZERO_UUID,
    debugThreads: false,
    daemonize: false,
    message: { timestamp: false, guestName: false },
  };
}
