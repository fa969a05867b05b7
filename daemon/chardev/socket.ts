import type { Duplex } from 'node:stream';
import { connectTo } from '../sockets/connect.js';
import { SocketListener } from '../sockets/socket_listener.js';
import { type Chardev, PendingInput } from './chardev.js';

/** A UNIX socket: one peer at a time. Output while nobody is connected is dropped. */
export class SocketChardev implements Chardev {
  #listener: SocketListener | undefined;
  #peer: Duplex | undefined;
  readonly #input: PendingInput;
  readonly #connected: Promise<void>;
  #wake: () => void = () => undefined;

  private constructor() {
    this.#input = new PendingInput({
      pause: () => this.#peer?.pause(),
      resume: () => this.#peer?.resume(),
    });
    this.#connected = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Listens at `path`; with `wait`, resolves once somebody is connected. */
  static async listen(path: string, wait: boolean): Promise<SocketChardev> {
    const chardev = new SocketChardev();
    chardev.#listener = await SocketListener.listen(
      { kind: 'unix', path },
      { connection: (stream) => chardev.#adopt(stream), failed: () => undefined },
    );
    if (wait) await chardev.#connected;
    return chardev;
  }

  static async connect(path: string): Promise<SocketChardev> {
    const chardev = new SocketChardev();
    chardev.#adopt(await connectTo({ kind: 'unix', path }));
    return chardev;
  }

  #adopt(socket: Duplex): void {
    if (this.#peer) {
      socket.destroy(); // the line is taken
      return;
    }
    this.#peer = socket;
    this.#wake();
    socket.on('data', (chunk: Buffer) => this.#input.arrived(chunk));
    socket.on('end', () => socket.end());
    socket.on('error', () => socket.destroy()); // a peer that goes away is no fault of the guest's
    socket.on('close', () => {
      this.#peer = undefined;
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    const peer = this.#peer;
    if (!peer || peer.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        peer.off('close', done);
        resolve();
      };
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
    this.#listener?.[Symbol.dispose]();
  }
}
