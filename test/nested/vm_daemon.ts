/** A vmhostd as a user starts it: a process of its own, driven over QMP alone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { QmpClient } from '../../client/qmp_client.js';
import { SerialFile, type SerialLog, SerialSocket } from './serial_log.js';

const VMHOSTD = fileURLToPath(new URL('../../daemon/vmhostd.js', import.meta.url));
const START_MS = 60_000;
const RETRY_MS = 50;
const QUIT_MS = 30_000;
const MAX_ERROR_CHARS = 4000;

export interface VmOptions {
  /** Folder for sockets and serial output; theirs alone. */
  dir: string;
  /** Names its files in `dir`. */
  name: string;
  /** Command line, but for `-qmp` and `-serial`. */
  args: readonly string[];
  serial: 'file' | 'socket';
}

export class VmDaemon implements AsyncDisposable {
  readonly name: string;
  readonly qmp: QmpClient;
  readonly serial: SerialLog;
  /** Resolves with how the process ended. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #errors: () => string;

  private constructor(parts: {
    name: string;
    qmp: QmpClient;
    serial: SerialLog;
    ended: Promise<string>;
    child: ChildProcess;
    errors: () => string;
  }) {
    this.name = parts.name;
    this.qmp = parts.qmp;
    this.serial = parts.serial;
    this.ended = parts.ended;
    this.#child = parts.child;
    this.#errors = parts.errors;
  }

  /** Resolves once it answers QMP and its migration events are on. */
  static async start({ dir, name, args, serial }: VmOptions): Promise<VmDaemon> {
    const qmpPath = `${dir}/${name}.qmp`;
    const serialPath = `${dir}/${name}.serial`;
    const serialArg = serial === 'file' ? `file:${serialPath}` : `unix:${serialPath},server=on,wait=off`;
    const child = spawn(
      process.execPath,
      [VMHOSTD, ...args, '-qmp', `unix:${qmpPath},server=on,wait=off`, '-serial', serialArg],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const killAtExit = (): void => {
      child.kill('SIGKILL');
    };
    process.once('exit', killAtExit);
    let errors = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-MAX_ERROR_CHARS);
    });
    let alive = true;
    const ended = new Promise<string>((resolve) => {
      child.once('close', (code, signal) => {
        alive = false;
        process.off('exit', killAtExit);
        resolve(signal === null ? `code ${code}` : `signal ${signal}`);
      });
    });
    try {
      const qmp = await connectWhenThere(qmpPath, () => alive);
      await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
      const log = serial === 'file' ? new SerialFile(serialPath) : await SerialSocket.connect(serialPath);
      return new VmDaemon({ name, qmp, serial: log, ended, child, errors: () => errors });
    } catch (error) {
      child.kill('SIGKILL');
      const how = await ended;
      throw new Error(`${name} did not start (${(error as Error).message}); it ended with ${how}: ${errors}`);
    }
  }

  /** Kills the process outright, as a crash would end it; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** Ends it by `quit`, or kills it when it does not end. Safe to call twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), QUIT_MS);
    // A daemon that is gone already, or goes while it answers, is what is wanted.
    await this.qmp.execute('quit').catch(() => undefined);
    await this.ended;
    clearTimeout(timer);
    await this.qmp.close();
    this.serial[Symbol.dispose]();
  }

  /** What may explain a failure: the end of its log and of the guest's. */
  diagnosis(): string {
    return `${this.name}, standard error:\n${this.#errors()}\n${this.name}, serial:\n${this.serial.text.slice(-1500)}`;
  }
}

/** A daemon tells nobody when its socket is there: the attempt itself shows it. */
async function connectWhenThere(path: string, alive: () => boolean): Promise<QmpClient> {
  for (const deadline = Date.now() + START_MS; ; ) {
    try {
      return await QmpClient.connect(`unix:${path}`, { timeoutMs: START_MS });
    } catch (error) {
      if (!alive() || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
