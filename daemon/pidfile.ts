/** The file that holds the process id: locked while the daemon lives, removed when it ends. */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { causeOf, strerror } from '../kvm/errors.js';
import { lockFile } from '../kvm/file_lock.js';

export class Pidfile implements Disposable {
  readonly #path: string;
  readonly #fd: number;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /** Locks the file at `path` and writes this process's id. @throws Error in QEMU's words where another process has it locked */
  static create(path: string): Pidfile {
    // The working directory may be another by the time it is removed.
    const absolute = resolve(path);
    for (;;) {
      const fd = open(path);
      const locked = lockFile(fd);
      if (locked < 0) {
        closeSync(fd);
        throw failed(`Cannot lock pid file ${path}: ${strerror(-locked)}`);
      }
      // Another daemon may have removed the file, as its own, between the two calls.
      if (!isAt(fd, absolute)) {
        closeSync(fd);
        continue;
      }
      ftruncateSync(fd);
      writeSync(fd, `${process.pid}\n`);
      return new Pidfile(absolute, fd);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { force: true });
    closeSync(this.#fd);
  }
}

function open(path: string): number {
  try {
    return openSync(path, constants.O_CREAT | constants.O_RDWR, 0o600);
  } catch (error) {
    throw failed(`Could not create '${path}': ${causeOf(error)}`);
  }
}

function isAt(fd: number, path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  const own = fstatSync(fd);
  return found?.ino === own.ino && found.dev === own.dev;
}

function failed(why: string): Error {
  return new Error(`cannot create PID file: ${why}`);
}
