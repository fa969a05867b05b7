/** Either end of the migration stream, played by a test: byte for byte under its control. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  decodeHeader,
  encodeHeader,
  encodeJson,
  type FrameHeader,
  type FrameName,
  HEADER_BYTES,
  STREAM_PAGE_SIZE,
  STREAM_VERSION,
} from '../../protocol/migration_stream.js';
import { type TestScope, within } from './daemons.js';

const FRAME_MS = 20_000;

/** A frame as it came: `bytes` is all of it, payload included, where the peer records. */
export interface ReceivedFrame {
  readonly header: FrameHeader;
  readonly body: Buffer;
  readonly bytes: Buffer;
}

/** A frame's bytes, with a JSON body. */
export function jsonFrame(type: FrameName, body: object | string, sequence: number): Buffer {
  const text = encodeJson(body);
  const bytes = Buffer.alloc(HEADER_BYTES + text.length);
  encodeHeader(viewOf(bytes), { type, bodyBytes: text.length, pages: 0, sequence });
  bytes.set(text, HEADER_BYTES);
  return bytes;
}

/** A RAM or ZERO frame's header and table; `pages` may lie. */
export function pagesFrame(
  type: 'RAM' | 'ZERO',
  ranges: readonly (readonly [first: number, count: number])[],
  sequence: number,
  pages = ranges.reduce((sum, [, count]) => sum + count, 0),
): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + 8 * ranges.length);
  encodeHeader(viewOf(bytes), { type, bodyBytes: 8 * ranges.length, pages, sequence });
  ranges.forEach(([first, count], i) => {
    bytes.writeUInt32LE(first, HEADER_BYTES + 8 * i);
    bytes.writeUInt32LE(count, HEADER_BYTES + 8 * i + 4);
  });
  return bytes;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** One connection of the stream. */
export class StreamPeer {
  readonly socket: Socket;
  /** Resolves when the other side has closed, or the connection broke. */
  readonly closed: Promise<void>;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #ended = false;
  #wake: () => void = () => undefined;
  #received = 0;
  #sent = 0;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#buffered += chunk.length;
      if (this.#buffered > 1 << 20) socket.pause();
      this.#wake();
    });
    socket.on('error', () => socket.destroy()); // told by `closed`
    this.closed = new Promise((resolve) => {
      const end = () => {
        this.#ended = true;
        this.#wake();
        resolve();
      };
      socket.once('end', end);
      socket.once('close', end);
    });
  }

  /**
   * The next frame; RAM payload is dropped unless `keep`. A FLUSH is answered, as everything before it was taken in.
   * @throws Error when the peer is gone
   */
  async frame(keep = false): Promise<ReceivedFrame> {
    const head = await within(FRAME_MS, 'a frame of the peer', this.#take(HEADER_BYTES));
    const header = decodeHeader(viewOf(head), this.#received, 0);
    this.#received++;
    const body = await this.#take(header.bodyBytes);
    if (header.type === 'FLUSH') this.send('FLUSHED');
    const payload = header.type === 'RAM' ? header.pages * STREAM_PAGE_SIZE : 0;
    if (keep) return { header, body, bytes: Buffer.concat([head, body, await this.#take(payload)]) };
    for (let left = payload; left > 0; ) left -= (await this.#take(Math.min(left, 1 << 18))).length;
    return { header, body, bytes: Buffer.concat([head, body]) };
  }

  /** Frames up to and including one of type `type`. */
  async until(type: FrameName, keep = false): Promise<ReceivedFrame[]> {
    const frames: ReceivedFrame[] = [];
    for (;;) {
      const frame = await this.frame(keep);
      frames.push(frame);
      if (frame.header.type === type) return frames;
      if (frame.header.type === 'REFUSE') throw new Error(`refused: ${frame.body.toString()}`);
    }
  }

  /** Sends a frame with the next sequence number. */
  send(type: FrameName, body: object = {}): void {
    this.sendBytes(jsonFrame(type, body, this.#sent));
  }

  /** Sends any bytes; they count as one frame. */
  sendBytes(bytes: Uint8Array): void {
    this.#sent++;
    this.socket.write(bytes);
  }

  accept(): void {
    this.send('ACCEPT', { version: STREAM_VERSION, maxBufferBytes: 2 ** 24 });
  }

  /** Stops reading: the kernel's buffers fill up. */
  stall(): void {
    this.socket.pause();
  }

  destroy(): void {
    this.socket.destroy();
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#buffered < length) {
      if (this.#ended) throw new Error(`the peer closed with ${this.#buffered} of ${length} bytes there`);
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.socket.resume();
      await more;
    }
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(length)];
    this.#buffered -= length;
    return all.subarray(0, length);
  }
}

/** A destination that does what a test says: it listens on a UNIX socket, or on TCP. */
export class FakeDestination {
  readonly uri: string;
  readonly #server: Server;
  #waiting: StreamPeer[] = [];
  #wake: (peer: StreamPeer) => void = (peer) => this.#waiting.push(peer);

  private constructor(server: Server, uri: string) {
    this.#server = server;
    this.uri = uri;
    server.on('connection', (socket) => this.#wake(new StreamPeer(socket)));
  }

  static async listen(t: TestScope, transport: 'unix' | 'tcp' = 'unix'): Promise<FakeDestination> {
    const dir = mkdtempSync(join(tmpdir(), 'vmhostd-fake-'));
    const sockets = new Set<Socket>();
    // A socket that ended its sending may still read.
    const server = createServer({ allowHalfOpen: true });
    server.on('connection', (socket) => sockets.add(socket));
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
      rmSync(dir, { recursive: true, force: true });
    });
    if (transport === 'unix') server.listen(join(dir, 'in'));
    else server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const uri = typeof address === 'string' ? `unix:${address}` : `tcp:127.0.0.1:${address?.port}`;
    return new FakeDestination(server, uri);
  }

  /** The next connection. */
  async connection(): Promise<StreamPeer> {
    const there = this.#waiting.shift();
    if (there) return there;
    const coming = new Promise<StreamPeer>((resolve) => {
      this.#wake = resolve;
    });
    try {
      return await within(FRAME_MS, 'the source connects', coming);
    } finally {
      this.#wake = (peer) => this.#waiting.push(peer);
    }
  }

  /** The next connection, its HELLO answered by ACCEPT. */
  async accepted(): Promise<StreamPeer> {
    const peer = await this.connection();
    await peer.until('HELLO');
    peer.accept();
    return peer;
  }

  close(): void {
    this.#server.close();
  }
}

/** Connects to a daemon that waits for a migration, as a source would. */
export async function fakeSource(t: TestScope, uri: string): Promise<StreamPeer> {
  const [, host, port] = /^tcp:(.*):(\d+)$/.exec(uri) ?? [];
  const socket = connect(
    port === undefined
      ? { path: uri.slice('unix:'.length), allowHalfOpen: true }
      : { host, port: Number(port), allowHalfOpen: true },
  );
  t.teardown(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  return new StreamPeer(socket);
}
