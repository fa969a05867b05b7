import { type ChildProcess, spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

/** Sends to a UNIX socket with file descriptors, which Node's sockets cannot pass. */
const FD_RELAY = fileURLToPath(new URL('../../../test/conformance/fd_relay.py', import.meta.url));

const PATIENCE_MS = 5000;

/** A raw connection that collects what it receives, as a latin-1 image of the bytes. */
export class Peer {
  readonly #input: { write(bytes: Buffer): unknown; end(): unknown };
  readonly #destroy: () => void;
  readonly #relay: boolean;
  #received = '';
  #ended = false;
  #notify: () => void = () => {};

  private constructor(socket: Socket | ChildProcess) {
    this.#relay = !('connect' in socket);
    const output = 'connect' in socket ? socket : socket.stdout;
    this.#input = 'connect' in socket ? socket : (socket.stdin as Socket);
    this.#destroy = () => ('connect' in socket ? socket.destroy() : socket.kill('SIGKILL'));
    output?.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
      this.#notify();
    });
    const end = () => {
      this.#ended = true;
      this.#notify();
    };
    output?.on('end', end).on('close', end);
    // A lost connection is an end: `ended` tells.
    socket.on('error', end);
    if (!('connect' in socket)) socket.stdin?.on('error', end);
  }

  /** Connects; with `fds`, through a program that can pass file descriptors; `paused` never reads. */
  static async open(path: string, { fds = false, paused = false } = {}): Promise<Peer> {
    if (fds) return new Peer(spawn('python3', [FD_RELAY, path], { stdio: ['pipe', 'pipe', 'inherit'] }));
    const socket = connect({ path, allowHalfOpen: true });
    const peer = new Peer(socket);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    if (paused) socket.pause();
    return peer;
  }

  /** Opens a connection, reads the greeting and negotiates. */
  static async negotiated(path: string, request = '{"execute":"qmp_capabilities"}\n'): Promise<Peer> {
    const peer = await Peer.open(path);
    await peer.lines(1);
    peer.send(request);
    await peer.lines(1);
    return peer;
  }

  /** True once the connection is gone. */
  get ended(): boolean {
    return this.#ended;
  }

  /** What was received and not taken. */
  get received(): string {
    return this.#received;
  }

  /** Sends bytes; with `fd`, the write end of a pipe goes with them. */
  send(text: string, { fd = false } = {}): void {
    if (this.#ended) return;
    const bytes = Buffer.from(text, 'latin1');
    this.#input.write(this.#relay ? Buffer.concat([Buffer.from(`${fd ? 'F' : 'S'} ${bytes.length}\n`), bytes]) : bytes);
  }

  /** Takes what has come once `enough` says so, the connection ends, or time is up. */
  async take(enough: (text: string) => boolean, timeoutMs = PATIENCE_MS): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    while (!enough(this.#received) && !this.#ended && Date.now() < deadline) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.#notify = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const text = this.#received;
    this.#received = '';
    return text;
  }

  /** Takes what has come once it has that many lines. */
  lines(count: number): Promise<string> {
    return this.take((text) => text.split('\r\n').length > count);
  }

  /** Half-closes and takes the rest. */
  finish(): Promise<string> {
    this.end();
    return this.take(() => false);
  }

  /** Takes what has come once nothing came for a while. */
  async quiet(quietMs: number): Promise<string> {
    let text = '';
    for (;;) {
      const more = await this.take((received) => received !== '', quietMs);
      if (more === '') return text;
      text += more;
    }
  }

  /** Half-closes. */
  end(): void {
    this.#input.end();
  }

  destroy(): void {
    this.#destroy();
  }
}
