import { connect, createServer, type Server, type Socket } from 'node:net';
import { listenUnix } from '../sockets/unix_listener.js';
import { type Chardev, PendingInput } from './chardev.js';

/** A UNIX socket: one peer at a time. Output while nobody is connected is dropped. */
export class SocketChardev implements Chardev {
  #server: Server | undefined;
  #peer: Socket | undefined;
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
    const server = createServer((socket) => chardev.#adopt(socket));
    await listenUnix(server, path);
    chardev.#server = server;
    if (wait) await chardev.#connected;
    return chardev;
  }

  static connect(path: string): Promise<SocketChardev> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', (error) => reject(new Error(`could not connect to ${path}: ${error.message}`)));
      socket.once('connect', () => {
        const chardev = new SocketChardev();
        chardev.#adopt(socket);
        resolve(chardev);
      });
    });
  }

  #adopt(socket: Socket): void {
    if (this.#peer) {
      socket.destroy(); // the line is taken
      return;
    }
    this.#peer = socket;
    this.#wake();
    socket.on('data', (chunk: Buffer) => this.#input.arrived(chunk));
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
    const server = this.#server;
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
