/** Where an incoming migration listens, with QEMU's words for a failure. */
import { SysError, strerror } from '../../kvm/errors.js';
import { listenOn, type SocketAddress } from '../../kvm/sockets.js';
import { genericError } from '../../protocol/qmp_errors.js';
import { removeStaleSocket } from '../sockets/stale_socket.js';
import type { MigrationListener } from './transport.js';
import { resolveMigrationAddress, type SocketUri } from './uri.js';

/** @throws QmpError */
export async function listenForMigration(uri: SocketUri): Promise<MigrationListener> {
  const address = await resolveMigrationAddress(uri, true).catch(refuse);
  if (address.kind === 'unix') {
    await removeStaleSocket(address.path).catch(refuse);
    return listenOnPath(address);
  }
  const last = (uri.kind === 'tcp' ? uri.to : undefined) ?? address.port;
  const either = uri.kind === 'tcp' && uri.host === '' && address.host === '::' && uri.ipv6 !== true;
  if (!either) return listenOnPorts(address, last);
  try {
    // An IPv6 socket takes what comes over IPv4 too.
    const listener = listenOnPorts(address, last);
    return { ...listener, also: { ...listener.address, host: '0.0.0.0' } as SocketAddress };
  } catch {
    // A host without IPv6; where it was something else, it is that for IPv4 as well, and said then.
    return listenOnPorts({ ...address, host: '0.0.0.0' }, last);
  }
}

function refuse(error: Error): never {
  throw genericError(error.message);
}

function listenOnPath(address: Extract<SocketAddress, { kind: 'unix' }>): MigrationListener {
  try {
    return { fd: listenOn(address).fd, address };
  } catch (error) {
    throw genericError(`Failed to bind socket to ${address.path}: ${causeOf(error)}`);
  }
}

/** Takes the first port that is free, up to `last`. */
function listenOnPorts(address: Extract<SocketAddress, { kind: 'tcp' }>, last: number): MigrationListener {
  for (let wanted = address.port; ; wanted++) {
    try {
      const { fd, port } = listenOn({ ...address, port: wanted });
      return { fd, address: { ...address, port } };
    } catch (error) {
      const inUse = error instanceof SysError && error.code === 'EADDRINUSE';
      if (inUse && wanted < last) continue;
      throw genericError(`Failed to ${inUse ? 'find an available port' : 'bind socket'}: ${causeOf(error)}`);
    }
  }
}

function causeOf(error: unknown): string {
  return error instanceof SysError ? strerror(error.errno) : (error as Error).message;
}
