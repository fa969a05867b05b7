/** A client of a UNIX socket that passes file descriptors with what it sends. */

import { FdStream } from '../../daemon/sockets/fd_stream.js';
import { MessageBuffer } from '../../kvm/fd_passing.js';
import { finishConnect, startConnect } from '../../kvm/sockets.js';

export class FdClient {
  readonly fd: number;
  readonly stream: FdStream;
  text = '';
  ended = false;
  readonly #buffer = new MessageBuffer();
  #wake: () => void = () => undefined;

  constructor(path: string) {
    this.fd = startConnect({ kind: 'unix', path });
    if (finishConnect(this.fd) !== 0) throw new Error(`could not connect to ${path}`);
    this.stream = FdStream.ofSocket(this.fd);
    this.stream.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
      this.#wake();
    });
    this.stream.on('error', () => undefined);
    this.stream.on('close', () => this.#wake());
    this.stream.on('end', () => {
      this.ended = true;
      this.#wake();
    });
  }

  /** Sends in one message, at once. */
  send(text: string, fds: readonly number[] = []): void {
    const bytes = Buffer.from(text);
    const n = this.#buffer.send(this.fd, bytes, fds);
    if (n !== bytes.length) throw new Error(`sent ${n} of ${bytes.length} bytes`);
  }

  /** What came, once `enough` likes it or nothing more will come. */
  async until(enough: (text: string) => boolean): Promise<string> {
    while (!enough(this.text) && !this.ended && !this.stream.destroyed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.text;
  }

  /** Sends a command and resolves with its reply, which is the next line that is no event. */
  async execute(name: string, args: object = {}, fds: readonly number[] = []): Promise<unknown> {
    const from = this.text.length;
    this.send(`${JSON.stringify({ execute: name, arguments: args })}\n`, fds);
    const reply = (text: string) =>
      text
        .slice(from)
        .split('\r\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line))
        .find((message) => !('event' in message));
    const message = reply(await this.until((text) => reply(text) !== undefined));
    return message?.error?.desc ?? message?.return;
  }

  close(): void {
    this.stream.destroy();
    this.#buffer[Symbol.dispose]();
  }

  /** Connects and negotiates. */
  static async negotiated(path: string): Promise<FdClient> {
    const client = new FdClient(path);
    await client.until((text) => text.endsWith('\r\n'));
    await client.execute('qmp_capabilities');
    return client;
  }
}
