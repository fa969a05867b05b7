/** Chardevs that only take: files, and nothing at all. */
import { type FileHandle, open } from 'node:fs/promises';
import { Duplex } from 'node:stream';
import { causeOf } from '../../kvm/errors.js';
import type { OpenSource } from './source.js';

/**
 * Output to a file, written by threads, since a disk may take its time. What cannot be written is lost, which the event `lost` tells; what comes after is tried again.
 */
export class FileStream extends Duplex {
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    super();
    this.#file = file;
  }

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.#write(chunk).then(done, (error: Error) => {
      this.emit('lost', error);
      done();
    });
  }

  async #write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) at += (await this.#file.write(chunk, at)).bytesWritten;
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#file.close().then(() => done(error), done);
  }
}

/** A file that is emptied first, unless `append`. */
export function openFile(path: string, append: boolean): OpenSource {
  return async (offer) => {
    const file = await open(path, append ? 'a' : 'w').catch((error: Error) => {
      throw new Error(`Could not open '${path}': ${causeOf(error)}`, { cause: error });
    });
    offer(new FileStream(file));
    return { filename: () => 'file', close: () => undefined };
  };
}

/** Everything is dropped, nothing ever arrives. */
export const openNull: OpenSource = async (offer) => {
  offer(new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() }));
  return { filename: () => 'null', close: () => undefined };
};
