/** When an fd can be read or written. */
import type { SysError } from '../../kvm/errors.js';
import { FdWatcher, type Readiness } from '../../kvm/fd_watcher_unsafe.js';

export interface Watcher extends Disposable {
  watch(readable: boolean, writable: boolean): void;
}

/** A file never makes its user wait: what is asked for is there in the next turn of the event loop. */
class AlwaysReady implements Watcher {
  readonly #ready: (what: Readiness) => void;
  #wanted: Readiness = { readable: false, writable: false };
  #turn: NodeJS.Immediate | undefined;

  constructor(ready: (what: Readiness) => void) {
    this.#ready = ready;
  }

  watch(readable: boolean, writable: boolean): void {
    this.#wanted = { readable, writable };
    if (readable || writable) this.#turn ??= setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    this.#turn = undefined;
    const wanted = this.#wanted;
    if (!wanted.readable && !wanted.writable) return;
    this.#ready(wanted);
    this.watch(this.#wanted.readable, this.#wanted.writable);
  }

  [Symbol.dispose](): void {
    this.#wanted = { readable: false, writable: false };
    clearImmediate(this.#turn);
  }
}

/** Watches `fd`, of whatever kind it is. @throws SysError for one that is not open */
export function watchFd(fd: number, ready: (what: Readiness) => void): Watcher {
  try {
    return new FdWatcher(fd, ready);
  } catch (error) {
    if ((error as SysError).code !== 'EPERM') throw error;
    return new AlwaysReady(ready);
  }
}
