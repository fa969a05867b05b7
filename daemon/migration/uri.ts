/** Migration URIs, in QEMU's forms and with QEMU's refusals. */
import { lookup } from 'node:dns/promises';
import type { SocketAddress } from '../../kvm/sockets.js';
import { genericError } from '../../protocol/qmp_errors.js';

/** A URI as it was given: a name may still need resolving. */
export type MigrationAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: string };

const MAX_UNIX_PATH = 107;

/**
 * Parses `tcp:HOST:PORT` (HOST may be empty, a name, or `[v6]`) and `unix:PATH`.
 * @param unknown QEMU's words for another protocol
 * @throws QmpError
 */
export function parseMigrationUri(uri: string, unknown: () => Error): MigrationAddress {
  if (uri.startsWith('unix:')) {
    const path = uri.slice(5);
    if (path === '') throw genericError('invalid Unix socket address');
    return { kind: 'unix', path };
  }
  if (uri.startsWith('tcp:')) {
    const rest = uri.slice(4);
    const match = /^(?:\[([0-9a-fA-F:.]*)\]|([^:]*)):([^:,]+)(?:,.*)?$/.exec(rest);
    if (!match) throw genericError(`error parsing address '${rest}'`);
    return { kind: 'tcp', host: match[1] ?? match[2] ?? '', port: match[3] as string };
  }
  throw unknown();
}

/**
 * The address the kernel takes.
 * @param passive for listening: an empty host means any address
 * @throws Error with QEMU's text when the host or port is none, or a path is too long
 */
export async function resolveMigrationAddress(address: MigrationAddress, passive: boolean): Promise<SocketAddress> {
  if (address.kind === 'unix') {
    if (Buffer.byteLength(address.path) > MAX_UNIX_PATH) {
      throw new Error(`UNIX socket path '${address.path}' is too long`);
    }
    return address;
  }
  const failed = (why: string) => new Error(`address resolution failed for ${address.host}:${address.port}: ${why}`);
  const port = Number(address.port);
  if (!/^\d+$/.test(address.port) || port > 65535) throw failed('Servname not supported for ai_socktype');
  if (address.host === '' || address.host === '0')
    return { kind: 'tcp', host: passive ? '0.0.0.0' : '127.0.0.1', port };
  try {
    const { address: host } = await lookup(address.host);
    return { kind: 'tcp', host, port };
  } catch {
    throw failed('Name or service not known');
  }
}
