import type { Duplex } from 'node:stream';
import type { CharDevice } from './char_device.js';
import { type Chardev, PendingInput } from './chardev.js';

/** A chardev under a serial port: one peer at a time. Output while nobody is connected is dropped. */
export class StreamChardev implements Chardev {
  #peer: Duplex | undefined;
  readonly #input = new PendingInput({
    pause: () => this.#peer?.pause(),
    resume: () => this.#peer?.resume(),
  });

  constructor(device: CharDevice) {
    device.use((stream) => this.#adopt(stream));
  }

  #adopt(stream: Duplex): void {
    if (this.#peer) {
      stream.destroy(); // the line is taken
      return;
    }
    this.#peer = stream;
    stream.on('data', (chunk: Buffer) => this.#input.arrived(chunk));
    stream.on('end', () => stream.end());
    stream.on('close', () => {
      this.#peer = undefined;
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    const peer = this.#peer;
    if (!peer?.writable) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = () => {
        peer.off('lost', lost);
        peer.off('close', done);
        resolve();
      };
      const lost = (error: Error) => {
        peer.off('close', done);
        reject(error);
      };
      peer.once('lost', lost);
      peer.once('close', done);
      peer.write(bytes, done);
    });
  }

  onInput(take: (bytes: Uint8Array) => number): void {
    this.#input.onInput(take);
  }

  resume(): void {
    this.#input.offer();
  }

  async close(): Promise<void> {
    this.#peer?.destroy();
  }
}

/** Where there is none: everything is dropped, nothing ever arrives. */
export const NO_CHARDEV: Chardev = {
  write: () => Promise.resolve(),
  onInput: () => undefined,
  resume: () => undefined,
  close: () => Promise.resolve(),
};
