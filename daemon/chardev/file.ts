import { type FileHandle, open } from 'node:fs/promises';
import type { Chardev } from './chardev.js';

/** Output to a file, which is emptied first unless `append`. No input. */
export class FileChardev implements Chardev {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(path: string, append: boolean): Promise<FileChardev> {
    return new FileChardev(await open(path, append ? 'a' : 'w'));
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) at += (await this.#file.write(bytes, at)).bytesWritten;
  }

  onInput(): void {}

  resume(): void {}

  close(): Promise<void> {
    return this.#file.close();
  }
}
