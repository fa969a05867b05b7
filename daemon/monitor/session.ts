/** One client of the human monitor at the other end of a stream: greeting, prompt, echo, one command after the other. */
import type { Duplex } from 'node:stream';
import type { CommandContext } from '../qmp/connection.js';
import type { QmpLog } from '../qmp/log.js';
import { versionInfo } from '../version.js';
import type { MonitorContext } from './command.js';
import { completeLine } from './completion.js';
import type { HumanMonitor } from './human_monitor.js';
import { LineEditor, type LineHistory } from './line_editor.js';
import { HMP_COMMANDS } from './table.js';

/** Clients wait for exactly this. */
const PROMPT = '(qemu) ';

/** Bytes taken in a row before other work of the process gets its turn. */
const BYTES_PER_TURN = 256;

const MAX_UNSENT_BYTES = 16 << 10;

/** Output that may wait for a client; more is not made before it has been read. */
const MAX_WAITING_BYTES = 256 << 10;

export interface MonitorSessionOptions {
  readonly monitor: HumanMonitor;
  /** Shared by the clients of one monitor, one after the other. */
  readonly history: LineHistory;
  readonly request: CommandContext;
  readonly log: QmpLog;
}

export class MonitorSession {
  readonly #stream: Duplex;
  readonly #options: MonitorSessionOptions;
  readonly #editor: LineEditor;
  readonly #context: MonitorContext;
  #closed = false;
  /** Output that is not written yet: what a few bytes of input echo goes out in one piece. */
  #unsent = '';
  /** Nothing more is read, and no prompt shown. */
  #ended = false;
  #wakers: Array<() => void> = [];
  /** Resolves when the session is over: its client gone, or all that it had sent done. */
  readonly done: Promise<void>;

  /** Owns the stream from now on. */
  constructor(stream: Duplex, options: MonitorSessionOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#editor = new LineEditor(PROMPT, options.history, (text) => this.#show(text));
    const terminal = {
      history: options.history.lines,
      end: () => {
        this.#ended = true;
      },
    };
    const view = {
      terminal,
      print: (text: string) => this.#show(Buffer.from(text).toString('latin1')),
      room: () => this.#room(),
    };
    this.#context = options.monitor.context(view, options.request);
    const wake = () => this.#wake();
    stream.on('drain', wake);
    stream.on('close', () => {
      this.#closed = true;
      wake();
    });
    stream.on('error', (err) => options.log.debug({ err }, 'client of the human monitor lost'));
    this.done = this.#serve().catch((err) => {
      options.log.error({ err }, 'a session of the human monitor failed');
      stream.destroy();
    });
  }

  async #serve(): Promise<void> {
    const { qemu } = versionInfo();
    const version = `${qemu.major}.${qemu.minor}.${qemu.micro}`;
    this.#show(`QEMU ${version} monitor - type 'help' for more information\n`);
    this.#editor.showPrompt();
    try {
      this.#flush();
      for await (const chunk of this.#stream.iterator({ destroyOnReturn: false })) {
        await this.#take(chunk as Buffer);
        if (this.#ended) return; // the daemon ends, and closes the stream when all is written
      }
    } catch (err) {
      // The stream's own error, which it has reported: the client is gone.
      if (!this.#stream.destroyed) throw err;
    }
    this.#stream.end();
  }

  async #take(chunk: Buffer): Promise<void> {
    for (const [index, byte] of chunk.entries()) {
      if (this.#closed || this.#ended) return;
      const request = this.#editor.feed(byte);
      if (request?.kind === 'complete') {
        const line = utf8(this.#editor.beforeCursor);
        this.#editor.complete(await completeLine(HMP_COMMANDS, line, this.#context));
      } else if (request) {
        await this.#run(utf8(request.line));
      }
      if (index % BYTES_PER_TURN === BYTES_PER_TURN - 1) {
        await this.#room();
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    this.#flush();
  }

  async #run(line: string): Promise<void> {
    this.#flush();
    try {
      await this.#options.monitor.run(line, this.#context);
    } catch (err) {
      this.#options.log.error({ err, line }, 'a command of the human monitor failed');
      this.#context.print(`Error: ${err instanceof Error ? err.message : String(err)}\n`);
    }
    if (!this.#ended) this.#editor.showPrompt();
    await this.#room();
  }

  /** Sends text, a character a byte; `\n` goes as `\r\n`. */
  #show(text: string): void {
    this.#unsent += text.replaceAll('\n', '\r\n');
    if (this.#unsent.length > MAX_UNSENT_BYTES) this.#flush();
  }

  #flush(): void {
    const text = this.#unsent;
    this.#unsent = '';
    if (text !== '' && !this.#closed && !this.#stream.writableEnded) this.#stream.write(text, 'latin1');
  }

  /** Resolves when little enough waits for the client, or it is gone. */
  async #room(): Promise<void> {
    this.#flush();
    while (!this.#closed && this.#stream.writableLength > MAX_WAITING_BYTES) {
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
    }
  }

  #wake(): void {
    for (const waker of this.#wakers.splice(0)) waker();
  }
}

const utf8 = (bytes: string) => Buffer.from(bytes, 'latin1').toString();
