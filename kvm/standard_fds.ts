/** A process's standard input and output as fds of its own, and their end. */
import { check } from './errors.js';
import * as libc from './libc_unsafe.js';

const F_DUPFD_CLOEXEC = 1030;
const O_RDWR = 2;
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/**
 * A close-on-exec fd of what `fd` is. A FIFO or a terminal is opened anew, so that making it non-blocking does not concern the other processes that
 * share it; a file is not, so that its position stays shared.
 * @param access O_RDONLY (0) or O_WRONLY (1)
 * @throws SysError
 */
export function openStandard(fd: number, access: 0 | 1, reopen: boolean): number {
  if (reopen) {
    const own = libc.open(`/proc/self/fd/${fd}`, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    // A terminal may belong to another user by now.
    if (own >= 0) return own;
  }
  return check('fcntl', libc.fcntl(fd, F_DUPFD_CLOEXEC, 3), `fd ${fd}`);
}

/** Standard input, output and error are /dev/null from now on. @throws SysError */
export function dropStandard(): void {
  const nothing = check('open', libc.open('/dev/null', O_RDWR | O_CLOEXEC), '/dev/null');
  for (const fd of [0, 1, 2]) check('dup2', libc.dup2(nothing, fd));
  libc.close(nothing);
}
