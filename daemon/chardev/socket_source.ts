/** Chardevs that are sockets. */
import { lookup } from 'node:dns/promises';
import type { Duplex } from 'node:stream';
import { type SysError, strerror } from '../../kvm/errors.js';
import { localAddress, peerAddress, type SocketAddress, socketRole } from '../../kvm/sockets.js';
import type { ChardevBackend } from '../cli/chardev_options.js';
import { connectFd } from '../sockets/connect.js';
import { FdStream } from '../sockets/fd_stream.js';
import { SocketListener } from '../sockets/socket_listener.js';
import type { OpenSource } from './source.js';

const SERVER = ',server=on';

type SocketBackend = Extract<ChardevBackend, { kind: 'socket' }>;

/** An address as QEMU writes it where nobody is connected (chardev/char-socket.c): IPv6 without brackets. */
function disconnectedName(address: SocketAddress | undefined): string {
  if (address === undefined) return '';
  if (address.kind === 'tcp') return `tcp:${address.host}:${address.port}`;
  if (address.path.startsWith('\0')) return `unix:${address.path.slice(1)},abstract=on,tight=on`;
  return `unix:${address.path}`;
}

/** A connection as QEMU writes it: this side's address and, for TCP, the other's. */
function connectedName(local: SocketAddress | undefined, peer: SocketAddress | undefined, server: string): string {
  if (local?.kind !== 'tcp') return `${disconnectedName(local)}${server}`;
  const end = (address: SocketAddress | undefined) => {
    if (address?.kind !== 'tcp') return '';
    return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
  };
  return `tcp:${end(local)}${server} <-> ${end(peer)}`;
}

/** The address that the kernel takes. @throws Error in QEMU's words */
async function resolve(address: SocketAddress, server: boolean): Promise<SocketAddress> {
  if (address.kind === 'unix') return address;
  const { host, port } = address;
  if (host === '') return { kind: 'tcp', host: server ? '0.0.0.0' : '127.0.0.1', port };
  try {
    return { kind: 'tcp', host: (await lookup(host)).address, port };
  } catch {
    throw new Error(`address resolution failed for ${host}:${port}: Name or service not known`);
  }
}

/** Listens, or connects, as the option says. @param failed told when clients cannot be accepted */
export function openSocket(backend: SocketBackend, failed: (error: Error) => void): OpenSource {
  return backend.server ? listening(backend, failed) : connecting(backend);
}

function listening({ address }: SocketBackend, failed: (error: Error) => void): OpenSource {
  return async (offer) => {
    /** Who is connected, under their names; the first is shown. */
    const clients = new Map<Duplex, string>();
    const connection = (stream: Duplex, fd: number) => {
      const { address: own } = listener;
      const tcp = own?.kind === 'tcp';
      clients.set(stream, connectedName(tcp ? localAddress(fd) : own, tcp ? peerAddress(fd) : undefined, SERVER));
      stream.once('close', () => clients.delete(stream));
      offer(stream);
    };
    const events = { connection, failed };
    const listener: SocketListener =
      address.kind === 'fd'
        ? SocketListener.adopt(address.fd, events)
        : await SocketListener.listen(await resolve(address, true), events);
    return {
      filename: () => [...clients.values()][0] ?? `disconnected:${disconnectedName(listener.address)}${SERVER}`,
      close: () => listener[Symbol.dispose](),
    };
  };
}

function connecting({ address }: SocketBackend): OpenSource {
  return async (offer) => {
    const fd = address.kind === 'fd' ? connectedFd(address.fd) : await connectFd(await resolve(address, false));
    const local = localAddress(fd);
    // As QEMU has it: a UNIX socket that connects has no path of its own.
    const name = connectedName(local, local?.kind === 'tcp' ? peerAddress(fd) : undefined, '');
    const stream = FdStream.ofSocket(fd);
    const gone = `disconnected:${address.kind === 'fd' ? `fd:${address.fd}` : disconnectedName(address)}`;
    offer(stream);
    return { filename: () => (stream.destroyed ? gone : name), close: () => undefined };
  };
}

/** An inherited socket that is connected already. @throws Error with one sentence when it is none */
function connectedFd(fd: number): number {
  const failed = (why: string) => new Error(`fd ${fd} cannot be used: ${why}`);
  let role: ReturnType<typeof socketRole>;
  try {
    role = socketRole(fd);
  } catch (error) {
    throw failed(strerror((error as SysError).errno));
  }
  if (role !== 'other')
    throw failed(role === undefined ? 'it is no stream socket' : "it listens, which needs 'server=on'");
  return fd;
}
