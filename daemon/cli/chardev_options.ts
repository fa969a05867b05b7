/** Where bytes come from and go to: `-chardev`, `-mon`, and the short forms of `-qmp`, `-monitor` and `-serial`. */
import { KeyValues } from './key_values.js';
import { parseNumber, UsageError } from './values.js';

export type SocketAddress =
  | { readonly kind: 'unix'; readonly path: string }
  /** An inherited fd: a listening socket with `server`, else a connected one. */
  | { readonly kind: 'fd'; readonly fd: number }
  /** An empty host: any address for a server, this host for a client. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** How a chardev works. */
export type ChardevBackend =
  | { readonly kind: 'null' }
  | { readonly kind: 'stdio' }
  | { readonly kind: 'file'; readonly path: string; readonly append: boolean }
  | { readonly kind: 'pipe'; readonly path: string }
  | {
      readonly kind: 'socket';
      readonly address: SocketAddress;
      readonly server: boolean;
      /** The daemon starts once a client is connected. */
      readonly wait: boolean;
    };

export interface ChardevOption {
  /** What `query-chardev` calls its label. */
  readonly id: string;
  readonly backend: ChardevBackend;
}

export interface MonitorOption {
  /** The id of its chardev. */
  readonly chardev: string;
  /** `control`: QMP. `readline`: the human monitor. */
  readonly mode: 'control' | 'readline';
  readonly pretty: boolean;
}

const MAX_FD = 2 ** 31 - 1;

function server(args: KeyValues): { server: boolean; wait: boolean } {
  const listens = args.boolean('server', false);
  const wait = args.take('wait');
  if (!listens && wait !== undefined) {
    throw new UsageError(`${args.option}: 'wait' option is incompatible with socket in client connect mode`);
  }
  return { server: listens, wait: listens && wait !== 'off' && wait !== 'no' && wait !== 'false' };
}

function socketAddress(args: KeyValues): SocketAddress {
  const path = args.take('path');
  const fd = args.take('fd');
  const host = args.take('host');
  if ([path, fd, host].filter((given) => given !== undefined).length > 1) {
    throw new UsageError(`${args.option}: None or one of 'path', 'fd' and 'host' option required`);
  }
  if (path !== undefined) return { kind: 'unix', path };
  if (fd !== undefined) return { kind: 'fd', fd: parseNumber(`${args.option} fd`, fd, 3, MAX_FD) };
  if (host === undefined) throw new UsageError(`${args.option}: a socket needs 'path=', 'fd=' or 'host=' and 'port='`);
  return { kind: 'tcp', host, port: parseNumber(`${args.option} port`, args.required('port'), 0, 65535) };
}

/** By QEMU's name of the kind: how `-chardev KIND,…` is read. */
const BACKENDS: Readonly<Record<string, (args: KeyValues) => ChardevBackend>> = {
  null: () => ({ kind: 'null' }),
  stdio: () => ({ kind: 'stdio' }),
  file: (args) => ({ kind: 'file', path: args.required('path'), append: args.boolean('append', false) }),
  pipe: (args) => ({ kind: 'pipe', path: args.required('path') }),
  socket: (args) => ({ kind: 'socket', address: socketAddress(args), ...server(args) }),
};

/** The kinds that `-chardev` makes. */
export const CHARDEV_KINDS: readonly string[] = Object.keys(BACKENDS);

/** An id as QEMU takes it (util/id.c). */
function identifier(option: string, id: string | undefined): string {
  if (id === undefined) throw new UsageError(`${option}: 'id=' is missing`);
  if (!/^[a-z][a-z0-9._-]*$/i.test(id)) {
    throw new UsageError(`${option}: id '${id}' must be letters, digits, '-', '.' and '_', a letter first`);
  }
  return id;
}

/** `-chardev KIND,id=ID,…`. @throws UsageError */
export function parseChardev(option: string, value: string): ChardevOption {
  const args = KeyValues.parse(option, value, 'backend');
  const kind = args.required('backend');
  const read = Object.hasOwn(BACKENDS, kind) ? BACKENDS[kind] : undefined;
  if (!read) throw new UsageError(`${option}: '${kind}' is none of ${Object.keys(BACKENDS).join(', ')}`);
  const id = identifier(option, args.take('id'));
  const backend = read(args);
  args.finish();
  return { id, backend };
}

/**
 * The form that `-qmp`, `-monitor` and `-serial` take: `unix:PATH,…`, `tcp:HOST:PORT,…`, `file:PATH`, `pipe:PATH`, `stdio`, `null`.
 * @throws UsageError
 */
export function parseShortChardev(option: string, value: string): ChardevBackend {
  if (value === 'null' || value === 'stdio') return { kind: value };
  // As in QEMU, the rest is the path, commas included.
  if (/^file:./.test(value)) return { kind: 'file', path: value.slice(5), append: false };
  if (/^pipe:./.test(value)) return { kind: 'pipe', path: value.slice(5) };
  if (/^unix:./.test(value)) {
    const args = KeyValues.parse(option, value.slice(5), 'path');
    const address = { kind: 'unix', path: args.required('path') } as const;
    const backend = { kind: 'socket', address, ...server(args) } as const;
    args.finish();
    return backend;
  }
  const tcp = /^tcp:(?:\[([^\]]*)\]|([^:,]*)):(\d+)(?:,(.*))?$/.exec(value);
  if (tcp) {
    const args = KeyValues.parse(option, tcp[4] ?? '');
    const port = parseNumber(option, tcp[3] as string, 0, 65535);
    const address = { kind: 'tcp', host: tcp[1] ?? tcp[2] ?? '', port } as const;
    const backend = { kind: 'socket', address, ...server(args) } as const;
    args.finish();
    return backend;
  }
  throw new UsageError(`${option}: '${value}' is none of unix:PATH, tcp:HOST:PORT, file:PATH, pipe:PATH, stdio, null`);
}

/** `-mon chardev=ID[,mode=control|readline][,pretty=on|off]`. @throws UsageError */
export function parseMonitor(value: string): MonitorOption {
  const args = KeyValues.parse('-mon', value, 'chardev');
  const chardev = args.required('chardev');
  const mode = args.word('mode', ['readline', 'control'], 'readline');
  const pretty = args.boolean('pretty', false);
  args.take('id');
  args.finish();
  if (pretty && mode !== 'control') throw new UsageError("-mon: 'pretty' is not compatible with HMP monitors");
  return { chardev, mode, pretty };
}
