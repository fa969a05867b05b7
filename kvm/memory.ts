/** Mappings and memfds, owned: what opens, closes. */
import { check } from './errors.js';
import * as libc from './libc_unsafe.js';

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MFD_CLOEXEC = 1;

export const MADV_DONTFORK = 10;
export const MADV_DONTDUMP = 16;
export const MADV_POPULATE_WRITE = 23;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;

/** Largest window JavaScript makes over memory: above 4 GiB, koffi.view aborts the process on Node 20. */
export const WINDOW_BYTES = 2 ** 30;

/** A mapping at an address, seen from JavaScript through windows of at most 1 GiB that are made once. */
export class Mapping implements Disposable {
  readonly address: number;
  readonly byteLength: number;
  #windows: (Uint8Array | undefined)[] = [];
  #owned: boolean;
  #disposed = false;

  private constructor(address: number, byteLength: number, owned: boolean) {
    this.address = address;
    this.byteLength = byteLength;
    this.#owned = owned;
  }

  /** Zeroed private memory whose address does not change; for tables that the kernel reads by address. */
  static anonymous(byteLength: number): Mapping {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return new Mapping(
      check('mmap', libc.mmap(0, byteLength, PROT_READ | PROT_WRITE, flags, -1, 0), `${byteLength} bytes`),
      byteLength,
      true,
    );
  }

  /** A shared mapping of `fd` from `offset`. */
  static ofFd(fd: number, byteLength: number, offset = 0): Mapping {
    const flags = MAP_SHARED | MAP_NORESERVE;
    return new Mapping(
      check(
        'mmap',
        libc.mmap(0, byteLength, PROT_READ | PROT_WRITE, flags, fd, offset),
        `${byteLength} bytes of fd ${fd}`,
      ),
      byteLength,
      true,
    );
  }

  /** Memory that another thread of this process mapped and keeps mapped longer than this object is used. */
  static borrowed(address: number, byteLength: number): Mapping {
    return new Mapping(address, byteLength, false);
  }

  /**
   * Bytes [offset, offset + length) as a view; they must lie inside one window (1 GiB, aligned).
   * @throws RangeError when they do not
   */
  view(offset: number, length: number): Uint8Array {
    if (this.#disposed) throw new Error('this mapping is unmapped');
    const index = Math.floor(offset / WINDOW_BYTES);
    const start = offset - index * WINDOW_BYTES;
    if (offset < 0 || length < 0 || offset + length > this.byteLength || start + length > WINDOW_BYTES) {
      throw new RangeError(
        `bytes ${offset}+${length} are not inside one window of a mapping of ${this.byteLength} bytes`,
      );
    }
    let window = this.#windows[index];
    if (!window) {
      const base = index * WINDOW_BYTES;
      const size = Math.min(WINDOW_BYTES, this.byteLength - base);
      window = new Uint8Array(libc.viewAt(this.address + base, size));
      this.#windows[index] = window;
    }
    return window.subarray(start, start + length);
  }

  dataView(offset = 0, length = this.byteLength - offset): DataView {
    const bytes = this.view(offset, length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  /** madvise(2) on a part of the mapping. @throws RangeError when it is not inside, SysError */
  advise(advice: number, offset = 0, length = this.byteLength - offset): void {
    if (offset < 0 || length < 0 || offset + length > this.byteLength) {
      throw new RangeError(`bytes ${offset}+${length} are not inside a mapping of ${this.byteLength} bytes`);
    }
    check('madvise', libc.madvise(this.address + offset, length, advice), `advice ${advice}`);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#windows = [];
    if (this.#owned) check('munmap', libc.munmap(this.address, this.byteLength));
  }
}

/** Makes a memfd of `byteLength` bytes, all of it a hole. The caller closes it. */
export function createMemfd(name: string, byteLength: number): number {
  const fd = check('memfd_create', libc.memfd_create(name, MFD_CLOEXEC));
  const rc = libc.ftruncate(fd, byteLength);
  if (rc < 0) {
    libc.close(fd);
    check('ftruncate', rc, `guest memory of ${byteLength} bytes`);
  }
  return fd;
}

/** Gives back the pages of [offset, offset + length): they read as zero and are a hole again. */
export function punchHole(fd: number, offset: number, length: number): void {
  check('fallocate', libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length), 'punch hole');
}

/** Data extents of a memfd in [from, to) as [start, end) byte offsets, in order: what was never touched is a hole. */
export function* dataExtents(fd: number, to: number, from = 0): Generator<[number, number]> {
  let at = from;
  while (at < to) {
    const start = libc.lseek(fd, at, SEEK_DATA);
    if (start === -ENXIO || start >= to) return;
    check('lseek', start, 'SEEK_DATA');
    const end = check('lseek', libc.lseek(fd, start, SEEK_HOLE), 'SEEK_HOLE');
    yield [start, Math.min(end, to)];
    at = end;
  }
}

/** Closes an fd that this process opened. A failure means a double close: it is thrown, never hidden. */
export function closeFd(fd: number): void {
  check('close', libc.close(fd), `fd ${fd}`);
}
