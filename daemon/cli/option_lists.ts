/**
 * What query-command-line-options tells: the options that take parameters and those that vmhostd takes of each, under QEMU 7.2's
 * names of the options and in its order. A parameter that changes nothing here (`no_effect.ts`) is one that is taken.
 */
import type {
  CommandLineOptionInfo,
  CommandLineParameterInfo,
  CommandLineParameterType,
} from '../../schemas/generated/qmp.js';

const of =
  (type: CommandLineParameterType) =>
  (...names: string[]): CommandLineParameterInfo[] =>
    names.map((name) => ({ name, type }));
const string = of('string');
const boolean = of('boolean');
const number = of('number');
const size = of('size');

export const OPTION_LISTS: readonly CommandLineOptionInfo[] = [
  {
    option: 'machine',
    parameters: [...boolean('usb', 'mem-merge', 'dump-guest-core'), ...string('accel', 'type')],
  },
  {
    option: 'sandbox',
    parameters: [...string('resourcecontrol', 'spawn', 'elevateprivileges', 'obsolete'), ...boolean('enable')],
  },
  { option: 'action', parameters: string('watchdog', 'panic', 'reboot', 'shutdown') },
  { option: 'name', parameters: [...boolean('debug-threads'), ...string('process', 'guest')] },
  { option: 'msg', parameters: boolean('guest-name', 'timestamp') },
  { option: 'overcommit', parameters: boolean('cpu-pm', 'mem-lock') },
  // Objects and devices have properties of their own, which qom-list-properties and device-list-properties tell.
  { option: 'object', parameters: [] },
  { option: 'boot-opts', parameters: boolean('strict', 'menu') },
  {
    option: 'smp-opts',
    parameters: number('maxcpus', 'threads', 'cores', 'clusters', 'dies', 'sockets', 'cpus'),
  },
  { option: 'memory', parameters: [...size('maxmem'), ...number('slots'), ...size('size')] },
  { option: 'accel', parameters: [] },
  { option: 'mon', parameters: [...boolean('pretty'), ...string('chardev', 'mode')] },
  { option: 'rtc', parameters: string('driftfix', 'clock', 'base') },
  { option: 'device', parameters: [] },
  {
    option: 'chardev',
    parameters: [...boolean('append', 'server', 'wait'), ...string('fd', 'port', 'host', 'path', 'backend')],
  },
];
