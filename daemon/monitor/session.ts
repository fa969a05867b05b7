/** One client of the human monitor at the other end of a stream: greeting, prompt, echo, one command after the other. */
import type { Duplex } from 'node:stream';
import type { OpenMonitorSession } from '../chardev/monitor_session.js';
import { NamedFds } from '../fds/named_fds.js';
import { PassedFds } from '../fds/passed_fds.js';
import type { CommandContext } from '../qmp/connection.js';
import { FLUSH_MS } from '../qmp/limits.js';
import type { QmpLog } from '../qmp/log.js';
import { versionInfo } from '../version.js';
import type { CurrentCpu, MonitorContext } from './command.js';
import { completeLine } from './completion.js';
import type { HumanMonitor } from './human_monitor.js';
import { LineEditor, LineHistory } from './line_editor.js';
import { HMP_COMMANDS } from './table.js';

/** Clients wait for exactly this. */
const PROMPT = '(qemu) ';

/** Bytes taken in a row before other work of the process gets its turn. */
const BYTES_PER_TURN = 256;

const MAX_UNSENT_BYTES = 16 << 10;

/** Output that may wait for a client; more is not made before it has been read. */
const MAX_WAITING_BYTES = 256 << 10;

/** What the clients of one monitor share, as they come and go. */
interface Shared {
  readonly monitor: HumanMonitor;
  readonly history: LineHistory;
  readonly fds: NamedFds;
  readonly cpu: CurrentCpu;
  readonly log: QmpLog;
}

/** The human monitor of one chardev: a session for each of its clients. */
export class MonitorSessions {
  readonly #shared: Shared;
  readonly #sessions = new Set<MonitorSession>();
  #closed = false;

  constructor(monitor: HumanMonitor, log: QmpLog) {
    this.#shared = { monitor, history: new LineHistory(), fds: new NamedFds(), cpu: { index: 0 }, log };
  }

  readonly open: OpenMonitorSession = (stream) => {
    if (this.#closed) {
      stream.destroy();
      return;
    }
    const session = new MonitorSession(stream, this.#shared);
    this.#sessions.add(session);
    stream.once('close', () => this.#sessions.delete(session));
  };

  /** Ends every session, once its client has taken what was written, or after `flushMs` milliseconds. Idempotent. */
  async close(flushMs = FLUSH_MS): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#sessions].map((session) => session.close(flushMs)));
    this.#shared.fds[Symbol.dispose]();
  }
}

class MonitorSession {
  readonly #stream: Duplex;
  readonly #shared: Shared;
  readonly #editor: LineEditor;
  readonly #context: MonitorContext;
  readonly #passedFds = new PassedFds();
  /** What commands want done once they are answered. */
  #afterwards: Array<() => void> = [];
  #closed = false;
  /** Output that is not written yet: what a few bytes of input echo goes out in one piece. */
  #unsent = '';
  /** Nothing more is read, and no prompt shown. */
  #ended = false;
  #wakers: Array<() => void> = [];

  constructor(stream: Duplex, shared: Shared) {
    this.#stream = stream;
    this.#shared = shared;
    this.#editor = new LineEditor(PROMPT, shared.history, (text) => this.#show(text));
    const terminal = {
      history: shared.history.lines,
      end: () => {
        this.#ended = true;
      },
    };
    const view = {
      cpu: shared.cpu,
      terminal,
      print: (text: string) => this.#show(Buffer.from(text).toString('latin1')),
      room: () => this.#room(),
    };
    const request: CommandContext = {
      client: 0,
      afterReply: (action) => this.#afterwards.push(action),
      fds: shared.fds,
      takeFd: () => this.#passedFds.takeFirst(),
    };
    this.#context = shared.monitor.context(view, request);
    stream.on('fds', (fds: readonly number[]) => this.#passedFds.replace(fds));
    stream.on('drain', () => this.#wake());
    stream.on('close', () => {
      this.#closed = true;
      this.#passedFds.replace([]);
      this.#wake();
    });
    stream.on('error', (err) => shared.log.debug({ err }, 'client of the human monitor lost'));
    this.#serve().catch((err) => {
      shared.log.error({ err }, 'a session of the human monitor failed');
      stream.destroy();
    });
  }

  /** Reads nothing more; ends the stream when what was written is out, or after `flushMs` milliseconds. */
  async close(flushMs: number): Promise<void> {
    this.#ended = true;
    if (this.#closed) return;
    this.#flush();
    const gone = new Promise<void>((resolve) => this.#stream.once('close', () => resolve()));
    const timer = setTimeout(() => this.#stream.destroy(), flushMs);
    this.#stream.end(() => this.#stream.destroy());
    await gone;
    clearTimeout(timer);
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
      await this.#shared.monitor.run(line, this.#context);
    } catch (err) {
      this.#shared.log.error({ err, line }, 'a command of the human monitor failed');
      this.#context.print(`Error: ${err instanceof Error ? err.message : String(err)}\n`);
    }
    for (const action of this.#afterwards.splice(0)) action();
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
