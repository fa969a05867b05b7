/**
 * Where bytes of guest memory go: a file, a pipe or a socket. Nothing here holds up the event loop: files are written by libuv's threads, a megabyte
 * at a time, and pipes and sockets as fast as their reader takes it.
 */
import { closeSync, constants, fstat, ftruncate, open, write } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';
import { SysError, strerror } from '../../kvm/errors.js';
import { genericError } from '../../protocol/qmp_errors.js';
import type { Piece } from './physical_memory.js';

const ZEROS = new Uint8Array(2 ** 20);
const EFBIG = 27;
const [openFd, statFd, truncateFd, writeFd] = [
  promisify(open),
  promisify(fstat),
  promisify(ftruncate),
  promisify(write),
];

/** Writes pieces one after the other. */
export interface Output {
  /** Resolves when the piece's memory is not read any more. @throws SysError */
  write(piece: Piece): Promise<void>;
  /** Resolves when the kernel has it all. @throws SysError */
  end(): Promise<void>;
  /** Closes, whatever was written. Ends a write under way where its reader takes nothing. Idempotent. */
  [Symbol.dispose](): void;
}

/**
 * Makes or empties the file at `path`. A pipe that nobody reads is refused (ENXIO) rather than waited for.
 * @throws QmpError in QEMU's words when it cannot be opened
 */
export async function openOutput(path: string, mode: number): Promise<Output> {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK } = constants;
  const fd = await openFd(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, mode).catch((error) => {
    throw genericError(`Could not open '${path}': ${strerror(-error.errno)}`);
  });
  return outputOf(fd, true);
}

/** An output to `fd`, which is closed with it. `fresh`: an empty file, in which zeros may be left out. @throws SysError */
export async function outputOf(fd: number, fresh = false): Promise<Output> {
  try {
    const stat = await statFd(fd);
    if (stat.isFIFO() || stat.isSocket()) return new StreamOutput(fd);
    return fresh && stat.isFile() ? new SparseOutput(fd) : new FileOutput(fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

class FileOutput implements Output {
  readonly #fd: number;
  #writing: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async write(piece: Piece): Promise<void> {
    if (typeof piece !== 'number') return this.writeAll(piece, null);
    for (let left = piece; left > 0; left -= ZEROS.length) await this.writeAll(ZEROS.subarray(0, left), null);
  }

  async end(): Promise<void> {}

  /** At a position of the file, or where the last write ended. */
  protected async writeAll(bytes: Uint8Array, position: number | null): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#closed) throw new Error('the file was closed');
      const wrote = writeFd(this.#fd, bytes, at, bytes.length - at, position === null ? null : position + at);
      this.#writing = wrote.catch(() => undefined);
      at += (await wrote.catch(asSysError('write'))).bytesWritten;
    }
  }

  protected async truncate(length: number): Promise<void> {
    await truncateFd(this.#fd, length).catch(asSysError('ftruncate'));
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // The thread that writes uses the number of the fd: it must not become another file's.
    void this.#writing.then(() => closeSync(this.#fd));
  }
}

/** A new file, in which zeros are holes. */
class SparseOutput extends FileOutput {
  #length = 0;

  override async write(piece: Piece): Promise<void> {
    const at = this.#length;
    const length = at + (typeof piece === 'number' ? piece : piece.length);
    if (!Number.isSafeInteger(length)) throw new SysError('write', EFBIG);
    this.#length = length;
    if (typeof piece !== 'number') await this.writeAll(piece, at);
  }

  override async end(): Promise<void> {
    await this.truncate(this.#length);
  }
}

class StreamOutput implements Output {
  readonly #socket: Socket;
  #failure: Error | undefined;

  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: false, writable: true });
    // Whoever writes learns of it, by then or with the next piece.
    this.#socket.on('error', (error) => {
      this.#failure = error;
    });
  }

  async write(piece: Piece): Promise<void> {
    if (typeof piece !== 'number') return this.#send(piece);
    for (let left = piece; left > 0; left -= ZEROS.length) await this.#send(ZEROS.subarray(0, left));
  }

  #send(bytes: Uint8Array): Promise<void> {
    if (this.#failure) return asSysError('write')(this.#failure);
    return new Promise<void>((resolve, reject) => {
      this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    }).catch(asSysError('write'));
  }

  end(): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#socket.end(() => resolve());
    }).catch(asSysError('write'));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Rethrows an error of Node's as the system call's. */
function asSysError(syscall: string): (error: Error) => never {
  return (error) => {
    const { errno } = error as NodeJS.ErrnoException;
    throw errno === undefined ? error : new SysError(syscall, -errno);
  };
}
