/** The command line, in QEMU's words. What is not supported is refused by name; what means nothing here is listed below. */

import type { ChardevSpec } from '../chardev/open.js';
import { DEBUG_EXIT_DEFAULTS, type DebugExitOptions } from '../devices/debug_exit.js';
import type { QmpAddress } from '../qmp/server.js';
import { keyValues, parseBoolean, parseMemory, parseNumber, UsageError } from './values.js';

export interface QmpSocket {
  readonly address: QmpAddress;
  readonly pretty: boolean;
  /** `wait=on`: the guest starts once a client is connected. */
  readonly wait: boolean;
}

/** `none` is a VM without RAM, vCPUs and devices. */
export interface MachineChoice {
  readonly type: 'pc' | 'none';
}

export interface DaemonOptions {
  machine: MachineChoice;
  ramBytes: number;
  vcpus: number;
  kernel?: string;
  initrd?: string;
  append: string;
  qmp: QmpSocket[];
  serial: ChardevSpec;
  /** A migration URI, or `defer`. */
  incoming?: string;
  paused: boolean;
  name?: string;
  uuid: string;
  pidfile?: string;
  noReboot: boolean;
  noShutdown: boolean;
  debugExit?: DebugExitOptions;
}

/** Options of QEMU that change nothing here: KVM is always used, there is no display and there are no default devices. */
export const MEANINGLESS = ['-enable-kvm', '-nographic', '-nodefaults', '-no-user-config'] as const;

const DEFAULT_RAM_BYTES = 128 * 2 ** 20;
const MAX_RAM_BYTES = 2 ** 42;
const MAX_VCPUS = 255;
const ZERO_UUID = '00000000-0000-0000-0000-000000000000';

type Setter = (options: DaemonOptions, value: string) => void;

/** Options that take a value. */
const valued: Record<string, Setter> = {
  '-machine': (o, value) => {
    const { type } = keyValues('-machine', value, 'type', ['type', 'usb', 'accel']);
    if (type === 'none') o.machine = { type: 'none' };
    else if (type !== 'pc' && type !== 'pc-i440fx-7.2')
      throw new UsageError(`-machine: unsupported machine type '${type}'`);
  },
  '-m': (o, value) => {
    const { size } = keyValues('-m', value, 'size', ['size']);
    o.ramBytes = parseMemory('-m', size ?? '', MAX_RAM_BYTES);
  },
  '-smp': (o, value) => {
    const { cpus } = keyValues('-smp', value, 'cpus', ['cpus']);
    o.vcpus = parseNumber('-smp', cpus ?? '', 1, MAX_VCPUS);
  },
  '-kernel': (o, value) => {
    o.kernel = value;
  },
  '-initrd': (o, value) => {
    o.initrd = value;
  },
  '-append': (o, value) => {
    o.append = value;
  },
  '-qmp': (o, value) => {
    o.qmp.push(parseQmp('-qmp', value, false));
  },
  '-qmp-pretty': (o, value) => {
    o.qmp.push(parseQmp('-qmp-pretty', value, true));
  },
  '-serial': (o, value) => {
    o.serial = parseSerial(value);
  },
  '-incoming': (o, value) => {
    o.incoming = value;
  },
  '-name': (o, value) => {
    const name = keyValues('-name', value, 'guest', ['guest']).guest;
    if (name !== undefined) o.name = name;
  },
  '-uuid': (o, value) => {
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value))
      throw new UsageError(`-uuid: '${value}' is no UUID`);
    o.uuid = value.toLowerCase();
  },
  '-pidfile': (o, value) => {
    o.pidfile = value;
  },
  '-device': (o, value) => {
    const { driver, iobase, iosize } = keyValues('-device', value, 'driver', ['driver', 'iobase', 'iosize']);
    if (driver !== 'isa-debug-exit') throw new UsageError(`-device: '${driver}' is not a device of vmhostd`);
    o.debugExit = {
      iobase: parseNumber('-device iobase', iobase ?? String(DEBUG_EXIT_DEFAULTS.iobase), 0, 0xffff),
      iosize: parseNumber('-device iosize', iosize ?? String(DEBUG_EXIT_DEFAULTS.iosize), 1, 8),
    };
  },
  '-accel': (_o, value) => {
    if (value !== 'kvm') throw new UsageError(`-accel: '${value}' is not supported, only kvm`);
  },
  '-display': (_o, value) => {
    if (value !== 'none') throw new UsageError(`-display: '${value}' is not supported, only none`);
  },
};

/** Options that QEMU takes several of, where this machine has one. */
const ONCE: ReadonlySet<string> = new Set(['-serial', '-device']);

/** Options without a value. */
const flags: Record<string, (options: DaemonOptions) => void> = {
  '-S': (o) => {
    o.paused = true;
  },
  '-no-reboot': (o) => {
    o.noReboot = true;
  },
  '-no-shutdown': (o) => {
    o.noShutdown = true;
  },
  ...Object.fromEntries(MEANINGLESS.map((name) => [name, () => undefined])),
};

/**
 * Parses the arguments after the program's name. Options may begin with one dash or two.
 * @throws UsageError naming the option and the value at fault
 */
export function parseOptions(args: readonly string[]): DaemonOptions {
  const options: DaemonOptions = {
    machine: { type: 'pc' },
    ramBytes: DEFAULT_RAM_BYTES,
    vcpus: 1,
    append: '',
    qmp: [],
    serial: { kind: 'null' },
    paused: false,
    uuid: ZERO_UUID,
    noReboot: false,
    noShutdown: false,
  };
  const given = new Set<string>();
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] as string;
    const name = argument.replace(/^--(?=.)/, '-');
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    const setter = Object.hasOwn(valued, name) ? valued[name] : undefined;
    if (flag) {
      flag(options);
    } else if (setter) {
      const value = args[++i];
      if (value === undefined) throw new UsageError(`${argument}: requires an argument`);
      if (ONCE.has(name) && given.has(name)) throw new UsageError(`${argument} '${value}': there is one already`);
      given.add(name);
      setter(options, value);
    } else {
      throw new UsageError(argument.startsWith('-') ? `${argument}: invalid option` : `'${argument}' is no option`);
    }
  }
  if (options.initrd !== undefined && options.kernel === undefined) throw new UsageError('-initrd needs -kernel');
  if (options.kernel !== undefined && options.machine.type === 'none') {
    throw new UsageError("-kernel is not supported by a machine of type 'none'");
  }
  if (options.append !== '' && options.kernel === undefined) throw new UsageError('-append needs -kernel');
  return options;
}

function parseQmp(option: string, value: string, pretty: boolean): QmpSocket {
  const comma = value.indexOf(',');
  const target = comma < 0 ? value : value.slice(0, comma);
  const more = comma < 0 ? {} : keyValues(option, value.slice(comma + 1), 'server', ['server', 'wait']);
  if (!parseBoolean(`${option} server`, more.server ?? 'off')) {
    throw new UsageError(`${option}: connecting out is not supported, '${value}' needs server=on`);
  }
  return { address: parseQmpAddress(option, target), pretty, wait: parseBoolean(`${option} wait`, more.wait ?? 'on') };
}

function parseQmpAddress(option: string, target: string): QmpAddress {
  if (/^unix:./.test(target)) return { kind: 'unix', path: target.slice(5) };
  const match = /^tcp:(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(target);
  if (!match) throw new UsageError(`${option}: '${target}' is neither unix:PATH nor tcp:HOST:PORT`);
  const host = match[1] ?? match[2] ?? '';
  return { kind: 'tcp', host: host === '' ? '0.0.0.0' : host, port: parseNumber(option, match[3] as string, 0, 65535) };
}

function parseSerial(value: string): ChardevSpec {
  if (value === 'none' || value === 'null') return { kind: 'null' };
  if (value === 'stdio') return { kind: 'stdio' };
  if (/^file:./.test(value)) return { kind: 'file', path: value.slice(5) };
  if (/^unix:./.test(value)) {
    const [path = '', ...rest] = value.slice(5).split(',');
    const more = rest.length > 0 ? keyValues('-serial', rest.join(','), 'server', ['server', 'wait']) : {};
    const server = parseBoolean('-serial server', more.server ?? 'off');
    return { kind: 'unix', path, server, wait: server && parseBoolean('-serial wait', more.wait ?? 'on') };
  }
  throw new UsageError(`-serial: '${value}' is none of stdio, file:PATH, unix:PATH[,server=on[,wait=off]], null`);
}
