/** A vmhostd process for tests: started with its sockets in a directory of its own, and gone when the test is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { QmpClient, type QmpEvent } from '../../client/qmp_client.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const VMHOSTD = join(ROOT, 'dist/daemon/vmhostd.js');
export const GUEST = join(ROOT, 'guest/vmguest.elf');

/** How long anything may take before a test gives up on it. */
const PATIENCE_MS = 20_000;

/** Calls `probe` until it gives something; woken by every change in `dir`, and by a slow timer for what is no file. */
export function eventually<T>(dir: string, what: string, probe: () => T | undefined): Promise<T> {
  const first = probe();
  if (first !== undefined) return Promise.resolve(first);
  return new Promise((resolve, reject) => {
    const look = () => {
      const found = probe();
      if (found === undefined) return;
      end();
      resolve(found);
    };
    const watcher = watch(dir, look);
    const timer = setInterval(look, 50);
    const deadline = setTimeout(() => {
      end();
      reject(new Error(`${what} did not come within ${PATIENCE_MS} ms`));
    }, PATIENCE_MS);
    const end = () => {
      watcher.close();
      clearInterval(timer);
      clearTimeout(deadline);
    };
  });
}

export class DaemonProcess {
  readonly dir: string;
  readonly child: ChildProcess;
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  readonly events: QmpEvent[] = [];
  stderr = '';
  stdout = Buffer.alloc(0);
  #exit: number | NodeJS.Signals | undefined;

  /** `@` in an argument stands for the test's own directory. `program`: another that is driven in the same way, such as QEMU. */
  constructor(
    t: Test,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    program: readonly [string, ...string[]] = [process.execPath, VMHOSTD],
  ) {
    this.dir = mkdtempSync(join(tmpdir(), 'vmhostd-test-'));
    const placed = args.map((arg) => arg.replaceAll('@', this.dir));
    this.child = spawn(program[0], [...program.slice(1), ...placed], {
      stdio: 'pipe',
      env: { ...process.env, VMHOSTD_LOG: 'fatal', ...env },
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.child.stdin?.on('error', () => undefined);
    const kill = () => this.child.kill('SIGKILL');
    process.once('exit', kill);
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        process.off('exit', kill);
        this.#exit = code ?? signal ?? -1;
        resolve(this.#exit);
      });
    });
    t.teardown(async () => {
      this.child.kill('SIGKILL');
      await this.exited;
      rmSync(this.dir, { recursive: true, force: true });
    });
  }

  /** Collects what the daemon writes to its standard output; without this the pipe is not read at all. */
  readStdout(): void {
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout = Buffer.concat([this.stdout, chunk]);
    });
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** A client of the socket `qmp` (see `guestArgs`), negotiated; its events are collected. */
  async qmp(): Promise<QmpClient> {
    // The pid file is written once every socket listens.
    await this.until(
      'the pid file',
      () => (existsSync(this.path('pid')) && statSync(this.path('pid')).size > 0) || undefined,
    );
    const client = await QmpClient.connect(`unix:${this.path('qmp')}`);
    client.on('event', (event) => this.events.push(event));
    return client;
  }

  /** Waits until the serial port's file matches. */
  serial(pattern: RegExp, file = 'serial'): Promise<RegExpExecArray> {
    return this.until(`${pattern} on the serial port`, () => {
      const text = existsSync(this.path(file)) ? readFileSync(this.path(file), 'latin1') : '';
      return pattern.exec(text) ?? undefined;
    });
  }

  until<T>(what: string, probe: () => T | undefined): Promise<T> {
    return eventually(this.dir, what, () => {
      const found = probe();
      if (found === undefined && this.#exit !== undefined) {
        throw new Error(`${what}: the daemon has ended with ${this.#exit}: ${this.stderr}`);
      }
      return found;
    });
  }

  /** The names of the events so far. */
  eventNames(): string[] {
    return this.events.map(({ event }) => event);
  }
}

/** A QMP socket at `qmp`, and the pid file that `DaemonProcess.qmp` waits for. */
export const QMP_SOCKET: readonly string[] = ['-qmp', 'unix:@/qmp,server=on,wait=off', '-pidfile', '@/pid'];

/** Machines as QEMU takes them too. */
export const MACHINE_NONE: readonly string[] = ['-machine', 'none', '-nodefaults', '-display', 'none'];
export const MACHINE_PC: readonly string[] = [
  ...['-machine', 'pc,usb=off', '-accel', 'kvm', '-m', '32', '-nodefaults', '-display', 'none', '-S'],
];

/** Arguments of a daemon with the built-in guest, its QMP socket at `qmp`, its pid file and, unless given, its serial port's file. */
export function guestArgs(append: string, ...more: string[]): string[] {
  const serial = more.includes('-serial') ? [] : ['-serial', 'file:@/serial'];
  return ['-m', '64', '-kernel', GUEST, '-append', append, ...QMP_SOCKET, ...serial, ...more];
}
