import { closeSync } from 'node:fs';

/**
 * The file descriptors that came last over a connection and that no command took yet. As in QEMU (chardev/char-socket.c) a message's
 * fds take the place of earlier ones, and a command takes the first and closes the rest: no client makes a connection hold more than one message's.
 */
export class PassedFds {
  #fds: readonly number[] = [];

  /** Keeps `fds`, which are this object's from now on; closes what was kept. */
  replace(fds: readonly number[]): void {
    const old = this.#fds;
    this.#fds = fds;
    for (const fd of old) closeSync(fd);
  }

  /** Hands the first over to the caller. Undefined where there is none. */
  takeFirst(): number | undefined {
    const [first, ...others] = this.#fds;
    this.#fds = others;
    this.replace([]);
    return first;
  }
}
