/** Record locks of whole files (fcntl_locking(2)): the kernel drops them with the process. */
import * as libc from './libc_unsafe.js';

const F_SETLK = 6;
const F_WRLCK = 1;

/** Locks the whole file against writers of other processes, without waiting. @returns 0, or `-errno`: EAGAIN where another holds it */
export function lockFile(fd: number): number {
  const lock = new DataView(new ArrayBuffer(32)); // struct flock: a length of 0 is the whole file
  lock.setInt16(0, F_WRLCK, true);
  return libc.fcntlBytes(fd, F_SETLK, lock);
}
