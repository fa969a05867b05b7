/** Sets of file descriptors that clients passed: `add-fd`, `remove-fd`, `query-fdsets` (monitor/fds.c of QEMU). */
import { closeSync } from 'node:fs';
import { genericError } from '../../protocol/qmp_errors.js';
import type { AddfdInfo, FdsetInfo } from '../../schemas/generated/qmp.js';

/** How many fds there may be in all sets. */
export const MAX_SET_FDS = 256;

/** The sets of the daemon: all monitors share them. */
export class FdSets {
  readonly #sets = new Map<bigint, Map<number, string | undefined>>();

  /**
   * Adds `fd`, which is this object's from now on, to the set `id`, or to a new one with the lowest free number.
   * @throws QmpError; `fd` is closed then too
   */
  add(fd: number, id: bigint | undefined, opaque: string | undefined): AddfdInfo {
    try {
      if (id !== undefined && id < 0n) throw genericError("Parameter 'fdset-id' expects a non-negative value");
      const count = [...this.#sets.values()].reduce((sum, set) => sum + set.size, 0);
      if (count >= MAX_SET_FDS) throw genericError(`There are ${MAX_SET_FDS} file descriptors in sets already`);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    const number = id ?? this.#lowestFree();
    const set = this.#sets.get(number) ?? new Map<number, string | undefined>();
    set.set(fd, opaque);
    this.#sets.set(number, set);
    return { 'fdset-id': number, fd };
  }

  /** Closes one fd of a set, or all. @throws QmpError where there is no such one */
  remove(id: bigint, fd: bigint | undefined): void {
    const set = this.#sets.get(id);
    if (!set || (fd !== undefined && !set.has(Number(fd)))) {
      const named = fd === undefined ? `fdset-id:${id}` : `fdset-id:${id}, fd:${fd}`;
      throw genericError(`File descriptor named '${named}' not found`);
    }
    for (const one of fd === undefined ? [...set.keys()] : [Number(fd)]) {
      closeSync(one);
      set.delete(one);
    }
    if (set.size === 0) this.#sets.delete(id);
  }

  /** As `query-fdsets` shows them: the highest number first. */
  query(): FdsetInfo[] {
    return [...this.#sets]
      .sort(([a], [b]) => (a < b ? 1 : -1))
      .map(([id, set]) => ({
        'fdset-id': id,
        fds: [...set].map(([fd, opaque]) => ({ fd, ...(opaque === undefined ? {} : { opaque }) })),
      }));
  }

  /** Closes all. */
  clear(): void {
    for (const id of [...this.#sets.keys()]) this.remove(id, undefined);
  }

  #lowestFree(): bigint {
    let id = 0n;
    while (this.#sets.has(id)) id++;
    return id;
  }
}
