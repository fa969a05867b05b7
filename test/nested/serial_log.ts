/** What a guest wrote to its serial port, as it arrives: from a file the daemon writes, or over its UNIX socket. */
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { connect, type Socket } from 'node:net';

type Check = () => void;

/** Text that grows, and can be waited for. Carriage returns are left out. */
export abstract class SerialLog implements Disposable {
  readonly #waiting = new Set<Check>();

  /** All there is so far. */
  abstract get text(): string;

  abstract [Symbol.dispose](): void;

  /** Call when there may be more text. */
  protected changed(): void {
    for (const check of [...this.#waiting]) check();
  }

  /**
   * Resolves with what `find` makes of the text, once that is not undefined.
   * @param what it is that is waited for, in words: `no ${what} within … s`
   */
  async wait<T>(what: string, find: (text: string) => T | undefined, timeoutMs: number): Promise<T> {
    let check: Check = () => undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        check = () => {
          const found = find(this.text);
          if (found !== undefined) resolve(found);
        };
        this.#waiting.add(check);
        timer = setTimeout(() => {
          const tail = JSON.stringify(this.text.slice(-300));
          reject(new Error(`no ${what} within ${timeoutMs / 1000} s; the serial port said ${tail} last`));
        }, timeoutMs);
        check();
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(check);
    }
  }
}

/** A file that a daemon writes to. It must be there already. */
export class SerialFile extends SerialLog {
  readonly #path: string;
  readonly #watcher: FSWatcher;

  constructor(path: string) {
    super();
    this.#path = path;
    this.#watcher = watch(path, () => this.changed());
  }

  override get text(): string {
    return readFileSync(this.#path, 'latin1').replaceAll('\r', '');
  }

  override [Symbol.dispose](): void {
    this.#watcher.close();
  }
}

/** A UNIX socket that a daemon listens at. It takes input too. */
export class SerialSocket extends SerialLog {
  readonly #socket: Socket;
  #text = '';

  private constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on('error', () => undefined); // a daemon that is killed resets it
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1').replaceAll('\r', '');
      this.changed();
    });
  }

  static async connect(path: string): Promise<SerialSocket> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new SerialSocket(socket);
  }

  override get text(): string {
    return this.#text;
  }

  send(input: string): void {
    this.#socket.write(input, 'latin1');
  }

  override [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
