/** Options that make chardevs, and monitors on them. */
import { type MonitorOption, parseChardev, parseMonitor, parseShortChardev } from './chardev_options.js';
import type { Draft, OptionSpecs } from './option_spec.js';
import { UsageError } from './values.js';

const SHORT = 'unix:PATH|tcp:HOST:PORT[,server=on|off][,wait=on|off] or file:PATH|pipe:PATH|stdio|null|chardev:ID';

/** The chardev that a short form names, or makes under the next free label `PREFIX0`, `PREFIX1`, … as QEMU does. */
function chardev(draft: Draft, option: string, value: string, prefix: string): string {
  if (/^chardev:./.test(value)) return value.slice(8);
  const id = `${prefix}${draft.chardevs.filter((other) => other.id.startsWith(prefix)).length}`;
  draft.chardevs.push({ id, backend: parseShortChardev(option, value) });
  return id;
}

function monitor(draft: Draft, option: string, value: string, how: Omit<MonitorOption, 'chardev'>): void {
  draft.monitors.push({ chardev: chardev(draft, option, value, 'compat_monitor'), ...how });
}

/** Every chardev that is used is there, once, and has one user. @throws UsageError */
export function checkChardevs(draft: Draft): void {
  const ids = new Set<string>();
  for (const { id } of draft.chardevs) {
    if (ids.has(id)) throw new UsageError(`-chardev: there is an '${id}' already`);
    ids.add(id);
  }
  const users = [
    ...draft.monitors.map((user) => ({ option: '-mon', id: user.chardev })),
    ...(draft.serial === undefined ? [] : [{ option: '-serial', id: draft.serial }]),
  ];
  const used = new Set<string>();
  for (const { option, id } of users) {
    if (!ids.has(id)) throw new UsageError(`${option}: chardev "${id}" not found`);
    if (used.has(id)) throw new UsageError(`${option}: chardev "${id}" is already in use`);
    used.add(id);
  }
  const onStdio = draft.chardevs.filter(({ backend }) => backend.kind === 'stdio').length;
  if (onStdio > 1) throw new UsageError('-chardev: cannot use stdio by multiple character devices');
  if (onStdio && draft.daemonize) throw new UsageError('-chardev: cannot use stdio with -daemonize');
}

export const monitorOptions: OptionSpecs = {
  '-qmp': {
    form: 'ADDRESS',
    help: `QMP on ${SHORT}; may be given several times`,
    apply: (draft, value) => monitor(draft, '-qmp', value, { mode: 'control', pretty: false }),
  },
  '-qmp-pretty': {
    form: 'ADDRESS',
    help: 'the same with indented replies',
    apply: (draft, value) => monitor(draft, '-qmp-pretty', value, { mode: 'control', pretty: true }),
  },
  '-monitor': {
    form: 'ADDRESS|none',
    help: 'the human monitor',
    apply: (draft, value) => {
      if (value !== 'none') monitor(draft, '-monitor', value, { mode: 'readline', pretty: false });
    },
  },
  '-chardev': {
    form: 'socket|stdio|file|pipe|null,id=ID,…',
    help: 'socket: path=PATH | host=HOST,port=PORT | fd=N, server=on|off, wait=on|off; file: path=PATH, append=on|off; pipe: path=PATH',
    apply: (draft, value) => {
      draft.chardevs.push(parseChardev('-chardev', value));
    },
  },
  '-mon': {
    form: '[chardev=]ID[,mode=control|readline][,pretty=on|off]',
    help: 'a monitor on a chardev',
    apply: (draft, value) => {
      draft.monitors.push(parseMonitor(value));
    },
  },
  '-serial': {
    form: 'ADDRESS|none',
    help: "where the serial port's bytes go",
    apply: (draft, value) => {
      if (draft.serial !== undefined) throw new UsageError(`-serial '${value}': there is one already`);
      draft.serial = chardev(draft, '-serial', value === 'none' ? 'null' : value, 'serial');
    },
  },
};
