/**
 * Tells when fds are readable or writable, on the event loop of the thread that made the watcher (libuv's uv_poll, through koffi).
 *
 * SAFETY: koffi aborts the process when it is given an fd that is closed, that epoll(7) does not take, or that is watched already; so all of
 * this is checked before. The callback comes outside of Node's own callback scope: an exception in it, or a promise resolved, would be seen late or
 * never; so it only notes what happened, and the work is done by an immediate, which runs in the same turn of the loop.
 */
import koffi from 'koffi';
import { check } from './errors.js';
import * as libc from './libc_unsafe.js';

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;

/** What is waited for, and what came. An error on the fd comes as both: the next call on it says which. */
export interface Readiness {
  readonly readable: boolean;
  readonly writable: boolean;
}

/** What koffi's callback gets, which its own types have wrong. */
type Callback = (status: number, events: Readiness) => void;

interface PollHandle {
  start(options: Readiness, callback: Callback): void;
  stop(): void;
  close(): void;
}

const poll = koffi.node.poll as unknown as (fd: number, options: Readiness, callback: Callback) => PollHandle;

/** Also what keeps the watchers, and with them koffi's handles, from being collected. */
const watchers = new Map<number, FdWatcher>();

/** Watchers to which something came in this turn of the loop. */
let fired: FdWatcher[] = [];
let scheduled = false;

function flush(): void {
  scheduled = false;
  const now = fired;
  fired = [];
  for (const watcher of now) watcher.deliver();
}

/** An epoll instance only to try fds with. */
let trial: number | undefined;

/** @throws SysError where the fd cannot be waited for, as a regular file */
function checkWatchable(fd: number): void {
  trial ??= check('epoll_create1', libc.epoll_create1(EPOLL_CLOEXEC));
  const event = new DataView(new ArrayBuffer(12));
  check('epoll_ctl', libc.epoll_ctl(trial, EPOLL_CTL_ADD, fd, event), `fd ${fd}`);
  libc.epoll_ctl(trial, EPOLL_CTL_DEL, fd, event);
}

/** Watches one fd, which its owner keeps open until this is disposed. The fd becomes non-blocking. */
export class FdWatcher implements Disposable {
  readonly #fd: number;
  readonly #ready: (what: Readiness) => void;
  readonly #handle: PollHandle;
  readonly #callback: Callback = (status, events) => this.#happened(status, events);
  #readable = false;
  #writable = false;
  #came = { readable: false, writable: false };
  #disposed = false;

  /**
   * @param ready called while what is waited for is there: whoever does not take it, must stop waiting for it
   * @throws SysError for an fd that cannot be watched, Error for one that is watched already
   */
  constructor(fd: number, ready: (what: Readiness) => void) {
    if (watchers.has(fd)) throw new Error(`fd ${fd} is watched already`);
    checkWatchable(fd);
    this.#fd = fd;
    this.#ready = ready;
    this.#handle = poll(fd, { readable: false, writable: false }, this.#callback);
    watchers.set(fd, this);
  }

  /** Says what to wait for from now on; at first, nothing. */
  watch(readable: boolean, writable: boolean): void {
    if (this.#disposed || (readable === this.#readable && writable === this.#writable)) return;
    this.#readable = readable;
    this.#writable = writable;
    if (readable || writable) this.#handle.start({ readable, writable }, this.#callback);
    else this.#handle.stop();
  }

  #happened(status: number, { readable, writable }: Readiness): void {
    if (this.#disposed) return;
    const failed = status < 0;
    if (failed) {
      // libuv stopped by itself: the next `watch` starts it anew.
      this.#readable = false;
      this.#writable = false;
    }
    if (!this.#came.readable && !this.#came.writable) fired.push(this);
    this.#came.readable ||= readable || failed;
    this.#came.writable ||= writable || failed;
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  }

  /** Hands over what came. */
  deliver(): void {
    const came = this.#came;
    this.#came = { readable: false, writable: false };
    if (!this.#disposed) this.#ready(came);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#handle.close();
    watchers.delete(this.#fd);
  }
}
