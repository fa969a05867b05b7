/** File descriptors that clients passed and gave names: `getfd`, `closefd`, and `fd:NAME` elsewhere. */
import { closeSync } from 'node:fs';
import { genericError } from '../../protocol/qmp_errors.js';

/** How many one monitor keeps: a client that passes more without using them is refused. */
export const MAX_NAMED_FDS = 256;

/**
 * The names of one monitor. As in QEMU they outlive the client that gave them (the next one on the same socket finds them), and what is never used
 * is closed with the monitor.
 */
export class NamedFds {
  readonly #fds = new Map<string, number>();

  /** Keeps `fd`, which is the store's from now on, in the place of one of the same name. @throws QmpError; `fd` is closed then too */
  add(name: string, fd: number): void {
    // monitor/misc.c: a number would be an inherited fd's.
    if (/^[0-9]/.test(name)) {
      closeSync(fd);
      throw genericError("Parameter 'fdname' expects a name not starting with a digit");
    }
    const old = this.#fds.get(name);
    if (old === undefined && this.#fds.size >= MAX_NAMED_FDS) {
      closeSync(fd);
      throw genericError(`There are ${MAX_NAMED_FDS} file descriptors with names already`);
    }
    if (old !== undefined) closeSync(old);
    this.#fds.set(name, fd);
  }

  /** Hands the fd of that name over to the caller, who closes it; the name is gone. Undefined where there is none. */
  take(name: string): number | undefined {
    const fd = this.#fds.get(name);
    this.#fds.delete(name);
    return fd;
  }

  /** @throws QmpError where there is none of that name */
  close(name: string): void {
    const fd = this.take(name);
    if (fd === undefined) throw genericError(`File descriptor named '${name}' not found`);
    closeSync(fd);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.values()) closeSync(fd);
    this.#fds.clear();
  }
}
