/** One VM in a process of its own, as a user of it sees it: its QMP socket, its serial port, its standard error. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { QmpClient } from '../client/qmp_client.js';
import { SerialLine } from './serial_line.js';

/** How long a process may take until its sockets answer. */
const START_TIMEOUT_MS = 15_000;
const RETRY_MS = 10;
const QUIT_TIMEOUT_MS = 3000;
/** The end of standard error that is kept. */
const STDERR_CHARACTERS = 16_384;

export interface VmProcessOptions {
  /** What it is called in messages and in the names of its sockets. */
  readonly name: string;
  /** An existing folder for its sockets. */
  readonly dir: string;
  /** The program, and its arguments without `-qmp` and `-serial`: vmhostd's or QEMU's. */
  readonly command: string;
  readonly args: readonly string[];
}

export class VmProcess {
  readonly name: string;
  /** Rejects when the process ends before `end` was called; never resolves. */
  readonly lost: Promise<never>;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #paths: { readonly qmp: string; readonly serial: string };
  #qmp: QmpClient | undefined;
  #serial: SerialLine | undefined;
  #stderr = '';
  #ending = false;

  private constructor({ name, dir, command, args }: VmProcessOptions) {
    this.name = name;
    this.#paths = { qmp: join(dir, `${name}.qmp`), serial: join(dir, `${name}.serial`) };
    const child = spawn(
      command,
      [
        ...args,
        ...['-qmp', `unix:${this.#paths.qmp},server=on,wait=off`],
        ...['-serial', `unix:${this.#paths.serial},server=on,wait=off`],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARACTERS);
    });
    // 'close' comes after the last of standard error; it also follows a failed spawn.
    this.#exited = once(child, 'close').catch(() => undefined);
    this.lost = new Promise((_resolve, reject) => {
      child.once('error', (cause) => reject(new Error(`${name} could not be started: ${cause.message}`, { cause })));
      child.once('close', (code, signal) => {
        if (!this.#ending) reject(new Error(`${name} ended by itself with ${signal ?? `exit code ${code}`}`));
      });
    });
    this.lost.catch(() => undefined);
  }

  /**
   * Starts it and connects to both of its sockets.
   * @throws Error with one sentence when it ends or does not answer; nothing of it is left then
   */
  static async start(
    options: VmProcessOptions,
    onSpawn: (vm: VmProcess) => void = () => undefined,
  ): Promise<VmProcess> {
    const vm = new VmProcess(options);
    onSpawn(vm);
    try {
      await Promise.race([vm.#connect(), vm.lost]);
      return vm;
    } catch (error) {
      await vm.kill();
      throw error;
    }
  }

  get qmp(): QmpClient {
    return this.#qmp as QmpClient;
  }

  get serial(): SerialLine {
    return this.#serial as SerialLine;
  }

  /** What it said on standard error, without blanks around it. */
  get stderr(): string {
    return this.#stderr.trim();
  }

  /** Asks it to quit, and ends it if it does not. */
  async end(): Promise<void> {
    this.#ending = true;
    const patience = new AbortController();
    const quit = this.#qmp?.execute('quit').catch(() => undefined);
    await Promise.race([
      quit === undefined ? undefined : quit.then(() => this.#exited),
      delay(QUIT_TIMEOUT_MS, undefined, { signal: patience.signal }).catch(() => undefined),
    ]);
    patience.abort();
    await this.kill();
  }

  /** Ends it without asking. */
  async kill(): Promise<void> {
    this.killNow();
    await this.#exited;
    await this.#qmp?.close();
    this.#serial?.close();
  }

  /** The same for where nothing can be awaited. */
  killNow(): void {
    this.#ending = true;
    this.#child.kill('SIGKILL');
  }

  async #connect(): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    this.#qmp = await this.#retry(() => QmpClient.connect(`unix:${this.#paths.qmp}`), deadline);
    this.#serial = await this.#retry(() => SerialLine.connect(this.#paths.serial), deadline);
  }

  /** A socket that is not there yet is tried again: nothing tells of its appearance. */
  async #retry<T>(connect: () => Promise<T>, deadline: number): Promise<T> {
    for (;;) {
      try {
        return await connect();
      } catch (cause) {
        if (this.#ending) throw cause;
        if (Date.now() > deadline) {
          throw new Error(`${this.name} does not answer: ${(cause as Error).message}`, { cause });
        }
        await delay(RETRY_MS);
      }
    }
  }
}
