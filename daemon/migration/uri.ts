/** Migration URIs, in QEMU's forms and with QEMU's refusals. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { SocketAddress } from '../../kvm/sockets.js';
import { genericError } from '../../protocol/qmp_errors.js';

/** A TCP address as it was given: a name may still need resolving. */
export interface TcpAddress {
  readonly kind: 'tcp';
  readonly host: string;
  readonly port: string;
  /** Where listening: the last port to try. */
  readonly to?: number;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
}

export type MigrationAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | TcpAddress
  | { readonly kind: 'vsock'; readonly cid: string; readonly port: string }
  | { readonly kind: 'fd'; readonly name: string }
  | { readonly kind: 'exec'; readonly command: string };

/** Those that name a socket. */
export type SocketUri = Extract<MigrationAddress, { kind: 'unix' | 'tcp' | 'vsock' }>;

const MAX_UNIX_PATH = 107;

/**
 * Parses `tcp:HOST:PORT[,OPTION…]` (HOST may be empty, a name, or `[v6]`), `unix:PATH`, `vsock:CID:PORT`, `fd:NAME`, `exec:COMMAND`.
 * @param unknown QEMU's words for another protocol
 * @throws QmpError
 */
export function parseMigrationUri(uri: string, unknown: () => Error): MigrationAddress {
  const protocol = /^([a-z]+):/.exec(uri)?.[1];
  const rest = uri.slice(uri.indexOf(':') + 1);
  switch (protocol) {
    case 'unix':
      if (rest === '') throw genericError('invalid Unix socket address');
      return { kind: 'unix', path: rest };
    case 'tcp':
      return parseTcp(rest);
    case 'vsock': {
      const match = /^([^:]+):([^,]+)/.exec(rest);
      if (!match) throw genericError(`error parsing address '${rest}'`);
      return { kind: 'vsock', cid: match[1] as string, port: match[2] as string };
    }
    case 'rdma':
      // As QEMU says on a host without RDMA.
      throw genericError(
        /^[^:]+:./.test(rest)
          ? 'RDMA ERROR: could not create CM channel'
          : `RDMA ERROR: bad RDMA migration address '${rest}'`,
      );
    case 'fd':
      return { kind: 'fd', name: rest };
    case 'exec':
      return { kind: 'exec', command: rest };
    default:
      throw unknown();
  }
}

/** util/qemu-sockets.c, inet_parse: an option that it does not know is ignored there too. */
function parseTcp(text: string): TcpAddress {
  const [form, what] = text.startsWith(':')
    ? ([/^(:)([^,]{1,32})/, 'port in address'] as const)
    : text.startsWith('[')
      ? ([/^\[([^\]]{1,64})\]:([^,]{1,32})/, 'IPv6 address'] as const)
      : ([/^([^:]{1,64}):([^,]{1,32})/, 'address'] as const);
  const match = form.exec(text);
  if (!match) throw genericError(`error parsing ${what} '${text}'`);
  const options = text.slice(match[0].length);
  const to = /,to=(.*)/.exec(options)?.[1];
  if (to !== undefined && !/^[+-]?\d+(,|$)/.test(to)) throw genericError('error parsing to= argument');
  return {
    kind: 'tcp',
    host: match[1] === ':' ? '' : (match[1] as string),
    port: match[2] as string,
    ...(to === undefined ? {} : { to: Number.parseInt(to, 10) }),
    ...flag('ipv4', options),
    ...flag('ipv6', options),
  };
}

function flag(name: 'ipv4' | 'ipv6', options: string): { ipv4?: boolean; ipv6?: boolean } {
  const at = options.indexOf(`,${name}`);
  if (at < 0) return {};
  const value = options.slice(at + name.length + 1);
  const word = /^[^,]*/.exec(value)?.[0];
  if (word === '' || word === '=on') return { [name]: true };
  if (word === '=off') return { [name]: false };
  throw genericError(`error parsing '${name}' flag '${value}'`);
}

/**
 * The address the kernel takes.
 * @param passive for listening: an empty host means any address, of either family
 * @throws Error with QEMU's text when the host or port is none, or a path is too long
 */
export async function resolveMigrationAddress(address: SocketUri, passive: boolean): Promise<SocketAddress> {
  if (address.kind === 'vsock') {
    for (const part of ['cid', 'port'] as const) {
      if (!/^\d+$/.test(address[part])) throw new Error(`Failed to parse ${part} '${address[part]}'`);
    }
    throw new Error('socket family AF_VSOCK unsupported');
  }
  if (address.kind === 'unix') {
    if (Buffer.byteLength(address.path) > MAX_UNIX_PATH) {
      throw new Error(`UNIX socket path '${address.path}' is too long`);
    }
    return address;
  }
  const failed = (why: string) => new Error(`address resolution failed for ${address.host}:${address.port}: ${why}`);
  const port = Number(address.port);
  if (!/^\d+$/.test(address.port) || port > 65535) throw failed('Servname not supported for ai_socktype');
  const family = addressFamily(address);
  const { host } = address;
  if (host === '' && passive) return { kind: 'tcp', host: family === 4 ? '0.0.0.0' : '::', port };
  const literal = isIP(host);
  if (literal !== 0 && family !== 0 && literal !== family) throw failed('Address family for hostname not supported');
  if (literal !== 0) return { kind: 'tcp', host, port };
  if (host === '0') return { kind: 'tcp', host: '0.0.0.0', port };
  if (host === '') throw failed('Name or service not known');
  // Of several addresses one is tried: an IPv4 one where there is one.
  const found = await lookup(host, { family, verbatim: false }).catch(() => {
    throw failed('Name or service not known');
  });
  return { kind: 'tcp', host: found.address, port };
}

/** inet_ai_family_from_address: 0 is either. */
function addressFamily({ ipv4, ipv6 }: TcpAddress): 0 | 4 | 6 {
  if (ipv6 === true && ipv4 !== true) return 6;
  if (ipv4 === true && ipv6 !== true) return 4;
  if (ipv4 === false && ipv6 !== false) return 6;
  if (ipv6 === false && ipv4 !== false) return 4;
  return 0;
}
