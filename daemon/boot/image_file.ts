import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { causeOf } from '../../kvm/errors.js';
import { BootError } from './boot_error.js';
import type { BootMemory } from './boot_memory.js';

/** A kernel or initrd, open for reading. It owns its fd. Every failure is a BootError that names the file. */
export class ImageFile implements Disposable {
  readonly path: string;
  /** What it is, as error texts say it: `kernel file '/boot/vmlinuz'`. */
  readonly what: string;
  readonly byteLength: number;
  #fd: number;

  private constructor(path: string, what: string, fd: number, byteLength: number) {
    this.path = path;
    this.what = what;
    this.#fd = fd;
    this.byteLength = byteLength;
  }

  /** Opens `path`; `kind` is `kernel` or `initrd`. Anything but a regular file is refused. */
  static open(kind: 'kernel' | 'initrd', path: string): ImageFile {
    const what = `${kind} file '${path}'`;
    let fd: number;
    try {
      // O_NONBLOCK: a FIFO without a writer would block the open for ever. libuv adds O_CLOEXEC.
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch (error) {
      throw new BootError(`could not open ${what}: ${causeOf(error)}`);
    }
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) {
        throw new BootError(`could not load ${what}: it is not a regular file`);
      }
      return new ImageFile(path, what, fd, stat.size);
    } catch (error) {
      closeSync(fd);
      throw error instanceof BootError ? error : new BootError(`could not read ${what}: ${causeOf(error)}`);
    }
  }

  /** The bytes [offset, offset + byteLength); `part` says what they are if they go beyond the end of the file. */
  read(part: string, offset: number, byteLength: number): DataView {
    this.check(part, offset, byteLength);
    const bytes = new Uint8Array(byteLength);
    let done = 0;
    while (done < byteLength) {
      let n: number;
      try {
        n = readSync(this.#fd, bytes, done, byteLength - done, offset + done);
      } catch (error) {
        throw new BootError(`could not read ${this.what}: ${causeOf(error)}`);
      }
      if (n === 0) {
        throw new BootError(`could not read ${this.what}: it was truncated while it was read`);
      }
      done += n;
    }
    return new DataView(bytes.buffer);
  }

  /** Refuses a range that is not inside the file. */
  check(part: string, offset: number, byteLength: number): void {
    const end = offset + byteLength;
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(end) || offset < 0 || byteLength < 0) {
      throw new BootError(
        `could not load ${this.what}: its ${part} is out of range (${byteLength} bytes at ${offset})`,
      );
    }
    if (end > this.byteLength) {
      throw new BootError(
        `could not load ${this.what}: its ${part} (${byteLength} bytes at ${offset}) goes beyond its end at ${this.byteLength}`,
      );
    }
  }

  /** Reads [offset, offset + byteLength) into guest RAM without a copy here. */
  loadInto(memory: BootMemory, part: string, offset: number, gpa: number, byteLength: number): void {
    this.check(part, offset, byteLength);
    if (byteLength === 0) {
      return;
    }
    try {
      memory.loadFile(this.#fd, offset, gpa, byteLength);
    } catch (error) {
      throw new BootError(`could not read ${this.what}: ${causeOf(error)}`, { cause: error });
    }
  }

  /** A BootError about this file. */
  error(cause: string): BootError {
    return new BootError(`could not load ${this.what}: ${cause}`);
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) {
      closeSync(this.#fd);
      this.#fd = -1;
    }
  }
}
