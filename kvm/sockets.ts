/** Stream sockets on the raw fd, for a thread that may block in them. */
import { isIPv4, isIPv6 } from 'node:net';
import { check, SysError } from './errors.js';
import * as libc from './libc_unsafe.js';

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_TYPE = 3;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDTIMEO = 21;
const SO_ACCEPTCONN = 30;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SIOCOUTQ = 0x5411;
const SHUT_WR = 1;
const SHUT_RDWR = 2;
const SOCK_NONBLOCK = 0o4000;
const EINTR = 4;
const EAGAIN = 11;
const ECONNABORTED = 103;
const EINPROGRESS = 115;
/** What a socket buffer may be set to: the kernel doubles it, in an int (net/core/sock.c). */
const MAX_BUFFER_SETTING = 0x3fff_ffff;
const ENOTCONN = 107;
const ENOTSOCK = 88;

export const MSG_NOSIGNAL = 0x4000;
export const MSG_MORE = 0x8000;
export const MSG_WAITALL = 0x100;
export const MSG_DONTWAIT = 0x40;
export const POLLIN = 1;
export const POLLOUT = 4;

/** An address as the kernel takes it; a host is a literal IPv4 or IPv6 address. */
export type SocketAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** A `struct sockaddr_*`. @throws RangeError for a path or an address that does not fit */
export function encodeAddress(address: SocketAddress): DataView {
  if (address.kind === 'unix') {
    const path = Buffer.from(address.path);
    // A path that begins with a NUL is an abstract name, which has no other NUL at its end (unix(7)).
    const abstract = path[0] === 0;
    if (path.length === 0 || path.length > 107 || path.includes(0, abstract ? 1 : 0)) {
      throw new RangeError(`UNIX socket path '${address.path}' must have 1 to 107 bytes`);
    }
    const view = new DataView(new ArrayBuffer(2 + path.length + (abstract ? 0 : 1)));
    view.setUint16(0, AF_UNIX, true);
    new Uint8Array(view.buffer).set(path, 2);
    return view;
  }
  const { host, port } = address;
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new RangeError(`port ${port} is outside 0..65535`);
  if (isIPv4(host)) {
    const view = new DataView(new ArrayBuffer(16));
    view.setUint16(0, AF_INET, true);
    view.setUint16(2, port, false);
    host.split('.').forEach((part, i) => {
      view.setUint8(4 + i, Number(part));
    });
    return view;
  }
  if (!isIPv6(host) || host.includes('%')) throw new RangeError(`'${host}' is no IP address`);
  const view = new DataView(new ArrayBuffer(28));
  view.setUint16(0, AF_INET6, true);
  view.setUint16(2, port, false);
  ipv6Words(host).forEach((word, i) => {
    view.setUint16(8 + 2 * i, word, false);
  });
  return view;
}

function ipv6Words(host: string): number[] {
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host);
  const text = tail
    ? `${tail[1]}${((Number(tail[2]) << 8) | Number(tail[3])).toString(16)}:${((Number(tail[4]) << 8) | Number(tail[5])).toString(16)}`
    : host;
  const [head = '', rest] = text.split('::');
  const words = (part: string) => (part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)));
  const left = words(head);
  const right = rest === undefined ? [] : words(rest);
  return [...left, ...new Array(8 - left.length - right.length).fill(0), ...right];
}

function setInt(fd: number, level: number, name: number, value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setInt32(0, value, true);
  return libc.setsockopt(fd, level, name, view);
}

function getInt(fd: number, level: number, name: number): number {
  const view = new DataView(new ArrayBuffer(4));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, 4, true);
  check('getsockopt', libc.getsockopt(fd, level, name, view, length));
  return view.getInt32(0, true);
}

/**
 * Waits for `events` (POLLIN, POLLOUT) on `fd`.
 * @returns true when one of them, or an error or hang-up that the next call will report, is there; false after `timeoutMs`
 */
export function waitFor(fd: number, events: number, timeoutMs: number): boolean {
  const view = new DataView(new ArrayBuffer(8));
  view.setInt32(0, fd, true);
  view.setInt16(4, events, true);
  const rc = libc.poll(view, timeoutMs);
  if (rc === -EINTR) return false;
  return check('poll', rc) > 0;
}

function newSocket(address: SocketAddress, flags = 0): number {
  const family = address.kind === 'unix' ? AF_UNIX : isIPv4(address.host) ? AF_INET : AF_INET6;
  return check('socket', libc.socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

/**
 * Listens on `address`.
 * @param backlog how many may wait to be accepted
 * @returns the fd and, for TCP, the port the kernel chose
 * @throws SysError naming bind or listen
 */
export function listenOn(address: SocketAddress, backlog = 1): { fd: number; port: number } {
  const fd = newSocket(address, SOCK_NONBLOCK);
  try {
    if (address.kind === 'tcp') check('setsockopt', setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    check('bind', libc.bindSocket(fd, encodeAddress(address)));
    check('listen', libc.listen(fd, backlog));
    return { fd, port: address.kind === 'tcp' ? localPort(fd) : 0 };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function localPort(fd: number): number {
  const address = localAddress(fd);
  return address?.kind === 'tcp' ? address.port : 0;
}

type AddressCall = (fd: number, address: DataView, length: DataView) => number;

function addressOf(name: string, call: AddressCall, fd: number): SocketAddress | undefined {
  const view = new DataView(new ArrayBuffer(110)); // sockaddr_un, the largest
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, view.byteLength, true);
  check(name, call(fd, view, length));
  return decodeAddress(view, length.getUint32(0, true));
}

/** What a `struct sockaddr_*` of `length` bytes says; undefined for a family that is neither UNIX nor IP. */
export function decodeAddress(view: DataView, length: number): SocketAddress | undefined {
  const bytes = Buffer.from(view.buffer, view.byteOffset, Math.min(length, view.byteLength));
  switch (view.getUint16(0, true)) {
    case AF_UNIX: {
      const path = bytes.subarray(2);
      // An abstract name begins with a NUL and is as long as it is; a path ends with one.
      const end = path.indexOf(0);
      return { kind: 'unix', path: (end > 0 ? path.subarray(0, end) : path).toString() };
    }
    case AF_INET:
      return { kind: 'tcp', host: [...bytes.subarray(4, 8)].join('.'), port: view.getUint16(2, false) };
    case AF_INET6: {
      const words = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i, false).toString(16));
      // The canonical form, with its `::`, is the URL parser's too.
      return {
        kind: 'tcp',
        host: new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1),
        port: view.getUint16(2, false),
      };
    }
    default:
      return undefined;
  }
}

/** Where a socket is. */
export function localAddress(fd: number): SocketAddress | undefined {
  return addressOf('getsockname', libc.getsockname, fd);
}

/** Where a connected socket's peer is. */
export function peerAddress(fd: number): SocketAddress | undefined {
  return addressOf('getpeername', libc.getpeername, fd);
}

/** What an fd is: undefined where it is open and no stream socket. @throws SysError where it is not open */
export function socketRole(fd: number): 'listening' | 'other' | undefined {
  try {
    if (getInt(fd, SOL_SOCKET, SO_TYPE) !== SOCK_STREAM) return undefined;
    return getInt(fd, SOL_SOCKET, SO_ACCEPTCONN) === 1 ? 'listening' : 'other';
  } catch (error) {
    if ((error as SysError).errno === ENOTSOCK) return undefined;
    throw error;
  }
}

/** Accepts one connection: its fd, or undefined where none is waiting. */
export function acceptFrom(listener: number): number | undefined {
  const fd = libc.accept4(listener, SOCK_CLOEXEC);
  // accept(2): a peer that was gone before it was taken is none.
  if (fd === -EAGAIN || fd === -EINTR || fd === -ECONNABORTED) return undefined;
  return check('accept', fd);
}

/** Starts connecting; `finishConnect` says how it went. The caller closes the fd. */
export function startConnect(address: SocketAddress): number {
  const fd = newSocket(address, SOCK_NONBLOCK);
  const rc = libc.connect(fd, encodeAddress(address));
  if (rc < 0 && rc !== -EINPROGRESS) {
    libc.close(fd);
    throw new SysError('connect', -rc);
  }
  return fd;
}

/** How a connect that `waitFor(fd, POLLOUT)` reported as ended went: 0, or the errno of its failure. */
export function finishConnect(fd: number): number {
  return getInt(fd, SOL_SOCKET, SO_ERROR);
}

/** Switches an fd between blocking and non-blocking. */
export function setBlocking(fd: number): void {
  const FIONBIO = 0x5421;
  const off = new DataView(new ArrayBuffer(4));
  check('ioctl(FIONBIO)', libc.ioctlBytes(fd, FIONBIO, off));
}

/** Small messages leave at once (TCP only; a UNIX socket has nothing to switch). */
export function setNoDelay(fd: number): void {
  check('setsockopt', setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1), 'TCP_NODELAY');
}

/**
 * Bounds the kernel's buffers of a socket and stops their automatic growth. Linux doubles what it is given, for its own overhead; the
 * bytes asked for here and returned are what may be held in the end.
 * @returns bytes the kernel granted each way (it may give less, or its minimum)
 */
export function setSocketBuffers(
  fd: number,
  sendBytes: number,
  receiveBytes: number,
): { send: number; receive: number } {
  const set = (force: number, plain: number, bytes: number) => {
    const setting = Math.min(Math.floor(bytes / 2), MAX_BUFFER_SETTING);
    if (setInt(fd, SOL_SOCKET, force, setting) < 0) {
      check('setsockopt', setInt(fd, SOL_SOCKET, plain, setting), 'socket buffer');
    }
    return getInt(fd, SOL_SOCKET, plain);
  };
  return {
    send: set(SO_SNDBUFFORCE, SO_SNDBUF, sendBytes),
    receive: set(SO_RCVBUFFORCE, SO_RCVBUF, receiveBytes),
  };
}

/** Bytes sent that the peer has not taken yet: from its socket where it is local, else off the network. */
export function unsentBytes(fd: number): number {
  const count = new DataView(new ArrayBuffer(4));
  check('ioctl(SIOCOUTQ)', libc.ioctlBytes(fd, SIOCOUTQ, count));
  return count.getInt32(0, true);
}

/** Makes a send that finds no room for `ms` fail with EAGAIN; 0 waits for ever. */
export function setSendTimeout(fd: number, ms: number): void {
  const view = new DataView(new ArrayBuffer(16)); // struct timeval
  view.setBigInt64(0, BigInt(Math.floor(ms / 1000)), true);
  view.setBigInt64(8, BigInt((ms % 1000) * 1000), true);
  check('setsockopt', libc.setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, view), 'SO_SNDTIMEO');
}

/** Ends this side's direction of a connection: the peer reads what was sent, then its end. */
export function endSending(fd: number): void {
  const rc = libc.shutdown(fd, SHUT_WR);
  if (rc !== -ENOTCONN) check('shutdown', rc);
}

/** Wakes every thread blocked in `fd` and ends both directions; an fd that is not connected is no error. */
export function shutdownSocket(fd: number): void {
  const rc = libc.shutdown(fd, SHUT_RDWR);
  if (rc !== -ENOTCONN) check('shutdown', rc);
}
