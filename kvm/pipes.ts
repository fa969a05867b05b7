/** Pipes, and what other fds than sockets have in common with them. */
import { check } from './errors.js';
import * as libc from './libc_unsafe.js';
import { POLLOUT } from './sockets.js';

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const FIONREAD = 0x541b;
const EINTR = 4;
const EINVAL = 22;
const EROFS = 30;
const POLLERR = 8;

/** A pipe's two ends; neither survives an exec. The caller closes them. */
export function createPipe(): { read: number; write: number } {
  const fds = new DataView(new ArrayBuffer(8));
  check('pipe2', libc.pipe2(fds, O_CLOEXEC));
  return { read: fds.getInt32(0, true), write: fds.getInt32(4, true) };
}

/** Makes calls on `fd` return -EAGAIN where they would wait. Whoever shares it through a fork or a socket is affected too. */
export function setNonBlocking(fd: number): void {
  const flags = check('fcntl', libc.fcntl(fd, F_GETFL, 0), `F_GETFL of fd ${fd}`);
  check('fcntl', libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK), `F_SETFL of fd ${fd}`);
}

/**
 * Brings a pipe's capacity to `bytes`, as near as the kernel allows: it takes powers of two, its own limit, and no less than is in the pipe.
 * @returns bytes that it may hold; 0 where `fd` is no pipe
 */
export function setPipeCapacity(fd: number, bytes: number): number {
  if (libc.fcntl(fd, F_GETPIPE_SZ, 0) < 0) return 0;
  libc.fcntl(fd, F_SETPIPE_SZ, 2 ** Math.floor(Math.log2(bytes)));
  return check('fcntl', libc.fcntl(fd, F_GETPIPE_SZ, 0), 'F_GETPIPE_SZ');
}

/** As `setPipeCapacity`, for a pipe that is larger than `bytes`; a smaller one stays as it is. */
export function lowerPipeCapacity(fd: number, bytes: number): number {
  const capacity = libc.fcntl(fd, F_GETPIPE_SZ, 0);
  return capacity > bytes ? setPipeCapacity(fd, bytes) : Math.max(capacity, 0);
}

/** Bytes in a pipe that nobody has read yet, by either end. */
export function pipeUnread(fd: number): number {
  const count = new DataView(new ArrayBuffer(4));
  check('ioctl(FIONREAD)', libc.ioctlBytes(fd, FIONREAD, count));
  return count.getInt32(0, true);
}

/** Whether nobody can read from a pipe any more. */
export function readerGone(fd: number): boolean {
  const view = new DataView(new ArrayBuffer(8));
  view.setInt32(0, fd, true);
  view.setInt16(4, POLLOUT, true);
  return libc.poll(view, 0) > 0 && (view.getInt16(6, true) & POLLERR) !== 0;
}

/** Waits until what was written to a file is on its disk. @returns false for what has none, as pipes have not */
export function syncFile(fd: number): boolean {
  let rc = libc.fdatasync(fd);
  while (rc === -EINTR) rc = libc.fdatasync(fd);
  if (rc === -EINVAL || rc === -EROFS) return false;
  check('fdatasync', rc, `fd ${fd}`);
  return true;
}
