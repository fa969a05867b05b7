import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const VMHOSTD = fileURLToPath(new URL('../../daemon/vmhostd.js', import.meta.url));
const START_MS = 20_000;
const POLL_MS = 5;

/** How to start the server that is tested: a program and its first arguments. */
export const DEFAULT_SERVER: readonly string[] = [process.execPath, VMHOSTD];

/** A server process that a transcript is played against, with one QMP socket. */
export class ServerProcess {
  readonly socketPath: string;
  /** Resolves with the exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  readonly #child: ChildProcess;
  #stderr = '';
  #ended = false;

  private constructor(child: ChildProcess, socketPath: string) {
    this.#child = child;
    this.socketPath = socketPath;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    this.exited = new Promise((resolve) => {
      const end = (outcome: number | string) => {
        this.#ended = true;
        process.off('exit', kill);
        resolve(outcome);
      };
      // Not `close`: a program the server started may hold its standard error.
      child.once('exit', (code, signal) => end(code ?? signal ?? -1));
      child.once('error', (error) => end(error.message));
    });
  }

  /**
   * Starts the server with its socket at `dir`/`party`.sock and waits until it can be connected to.
   * @throws Error with what it said, when it ends before that
   */
  static async start(
    server: readonly string[],
    { dir, party, args, monitor }: { dir: string; party: string; args: readonly string[]; monitor: string },
  ): Promise<ServerProcess> {
    const socketPath = join(dir, `${party}.sock`);
    const [program, ...first] = server;
    const socket = `socket,id=mon0,path=${socketPath},server=on,wait=off`;
    const all = [...first, ...args, '-chardev', socket, '-mon', `chardev=mon0,mode=control${monitor}`];
    const child = spawn(program as string, all, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, VMHOSTD_LOG: 'fatal' },
    });
    const started = new ServerProcess(child, socketPath);
    for (const deadline = Date.now() + START_MS; Date.now() < deadline; await delay(POLL_MS)) {
      if (started.#ended) throw new Error(`the server did not start: ${started.stderr.trim() || 'it said nothing'}`);
      if (existsSync(socketPath) && (await connects(socketPath))) return started;
    }
    await started.kill();
    throw new Error(`the server did not listen within ${START_MS} ms`);
  }

  get stderr(): string {
    return this.#stderr;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get ended(): boolean {
    return this.#ended;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends the process, however it goes. */
  async kill(): Promise<void> {
    if (!this.#ended) this.#child.kill('SIGKILL');
    await this.exited;
  }
}

/** Whether the socket takes connections; the one made here is given up. */
function connects(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
