/** The far end of a guest's serial port: lines as they arrive, with their times. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface SerialText {
  readonly text: string;
  /** When its last byte arrived: ms of `performance.now()`. */
  readonly atMs: number;
}

interface Waiter {
  readonly pattern: RegExp;
  found(match: RegExpExecArray): void;
}

export class SerialLine {
  /** All that arrived, cut lines included. */
  received = '';
  /** Whole lines, without their ends. */
  readonly lines: SerialText[] = [];
  readonly #socket: Socket;
  readonly #waiters = new Set<Waiter>();
  #rest = '';
  /** Lines before this one were already waited for. */
  #cursor = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => this.#take(text));
    socket.on('error', () => socket.destroy()); // who waits for a line has a limit, and the process says why it ended
  }

  /** Connects to the UNIX socket of a serial port. @throws the socket's error */
  static async connect(path: string): Promise<SerialLine> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new SerialLine(socket);
  }

  send(text: string): void {
    this.#socket.write(text, 'latin1');
  }

  /**
   * The next line that matches, behind the last one waited for.
   * @throws Error naming the pattern after `timeoutMs`
   */
  next(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpExecArray> {
    while (this.#cursor < this.lines.length) {
      const match = pattern.exec(this.lines[this.#cursor++]?.text ?? '');
      if (match) return Promise.resolve(match);
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        pattern,
        found: (match) => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve(match);
        },
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        const last = this.lines.at(-1)?.text;
        const but = last === undefined ? 'it said nothing' : `its last line is '${last}'`;
        reject(new Error(`the guest did not print ${pattern} within ${timeoutMs} ms; ${but}`));
      }, timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    const atMs = performance.now();
    this.received += text;
    const parts = (this.#rest + text).split('\n');
    this.#rest = parts.pop() as string;
    for (const part of parts) {
      const line = part.replace(/\r$/, '');
      this.lines.push({ text: line, atMs });
      for (const waiter of this.#waiters) {
        const match = waiter.pattern.exec(line);
        if (!match) continue;
        this.#cursor = this.lines.length;
        waiter.found(match);
      }
    }
  }
}

/** Numbers of the heartbeats in a guest's output, in order. */
export function heartbeats(output: string): number[] {
  return [...output.matchAll(/^HB (\d+) .*\n/gm)].map((match) => Number(match[1]));
}

/** What is wrong with a sequence of heartbeats that should count by one: a sentence, or undefined. */
export function heartbeatFault(numbers: readonly number[]): string | undefined {
  for (let i = 1; i < numbers.length; i++) {
    const [before = 0, now = 0] = [numbers[i - 1], numbers[i]];
    if (now !== before + 1) return `heartbeat ${now} follows heartbeat ${before}`;
  }
  return undefined;
}
