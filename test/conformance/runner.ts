import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';

/**
 * One recorded conversation with a QMP server, a line of a JSONL file. Strings are latin-1 images of bytes. A step whose
 * `send` is null only waits; the greeting is part of the first step's `recv` only then.
 */
export interface Transcript {
  readonly name: string;
  readonly group?: string;
  readonly steps: ReadonlyArray<{ readonly send: string | null; readonly recv: string }>;
  /** qmp_capabilities was done before the first step. */
  readonly negotiated?: boolean;
  /** The socket was opened with pretty=on. */
  readonly pretty?: boolean;
  /** The machine was started with -S. */
  readonly startPaused?: boolean;
  /** The machine was started with -no-reboot. */
  readonly noReboot?: boolean;
  /** Messages may come in any order. */
  readonly anyOrder?: boolean;
}

export interface Outcome {
  readonly name: string;
  readonly ok: boolean;
  /** What was expected and what came, where they differ. */
  readonly expected: string;
  readonly actual: string;
}

/** Reads the transcripts of a JSONL file. Records without steps are left out. */
export function loadTranscripts(path: string): Transcript[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as Transcript)
    .filter((record) => record.steps !== undefined);
}

const GREETING = /^\{\s*"QMP"/;
const NEGOTIATE = '{"execute":"qmp_capabilities"}\n';
const STEP_TIMEOUT_MS = 5000;

/** Replaces what differs from run to run; applied to what is expected and to what is received. */
export function normalise(text: string): string {
  return text
    .replace(/("seconds": )\d+/g, '$10')
    .replace(/("microseconds": )\d+/g, '$10')
    .replace(/("thread-id": )\d+/g, '$10');
}

/**
 * Plays a transcript against the server on a UNIX socket. Every step waits for as much as it should receive; at the end
 * the client half-closes and reads to the end, so that anything the server says in excess is found.
 */
export async function runTranscript(socketPath: string, transcript: Transcript): Promise<Outcome> {
  let expected = '';
  let actual = '';
  let peer = await Peer.open(socketPath);
  try {
    const greets = transcript.steps[0]?.send === null && GREETING.test(transcript.steps[0].recv);
    if (!greets) await peer.take((text) => text.endsWith('}\r\n'));
    if (transcript.negotiated) {
      peer.send(NEGOTIATE);
      await peer.take((text) => text.endsWith('}\r\n'));
    }
    for (const [index, step] of transcript.steps.entries()) {
      // A greeting in a later step means that the client has connected anew.
      if (index > 0 && GREETING.test(step.recv)) {
        actual += await peer.finish();
        peer = await Peer.open(socketPath);
      }
      if (step.send) peer.send(step.send);
      expected += step.recv;
      const length = normalise(step.recv).length;
      actual += await peer.take((text) => normalise(text).length >= length);
    }
    actual += await peer.finish();
  } finally {
    peer.destroy();
  }
  const [want, got] = [normalise(expected), normalise(actual)];
  const ok = transcript.anyOrder ? sortedLines(want) === sortedLines(got) : want === got;
  return { name: transcript.name, ok, expected: want, actual: got };
}

function sortedLines(text: string): string {
  return text.split('\r\n').sort().join('\r\n');
}

/** A raw connection that collects what it receives. */
export class Peer {
  readonly #socket: Socket;
  #received = '';
  #ended = false;
  #notify: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
      this.#notify();
    });
    socket.on('close', () => {
      this.#ended = true;
      this.#notify();
    });
    socket.on('error', () => {});
  }

  static async open(path: string): Promise<Peer> {
    const socket = connect({ path });
    const peer = new Peer(socket);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return peer;
  }

  /** True once the connection is gone. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Opens a connection, reads the greeting and negotiates. */
  static async negotiated(path: string, request: string = NEGOTIATE): Promise<Peer> {
    const peer = await Peer.open(path);
    await peer.lines(1);
    peer.send(request);
    await peer.lines(1);
    return peer;
  }

  /** Takes what has come once it has that many lines. */
  lines(count: number): Promise<string> {
    return this.take((text) => text.split('\r\n').length > count);
  }

  send(text: string): void {
    this.#socket.write(text, 'latin1');
  }

  /** Takes what has come once `enough` says so, the connection ends, or time is up. */
  async take(enough: (text: string) => boolean): Promise<string> {
    const deadline = Date.now() + STEP_TIMEOUT_MS;
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

  /** Half-closes and takes the rest. */
  finish(): Promise<string> {
    this.#socket.end();
    return this.take(() => false);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
