/** Runs the built-in guest under QEMU, as a second opinion on it: serial port on stdio, QMP on descriptor 3. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';

export const GUEST_DIR = fileURLToPath(new URL('../../../guest/', import.meta.url));
export const GUEST_IMAGE = `${GUEST_DIR}vmguest.elf`;
const QEMU = 'qemu-system-x86_64';

/** Why QEMU cannot be used here, or false. */
export function noQemu(): string | false {
  try {
    execFileSync(QEMU, ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return `${QEMU} is not installed`;
  }
}

/** `kvm` where this process may use it, else `tcg`. */
export function accelerator(): 'kvm' | 'tcg' {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return 'kvm';
  } catch {
    return 'tcg';
  }
}

interface Waiter {
  match: (line: string) => RegExpExecArray | null;
  resolve: (found: RegExpExecArray) => void;
  reject: (error: Error) => void;
}

export class QemuGuest {
  readonly lines: string[] = [];
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #qmp: Duplex;
  readonly #waiters = new Set<Waiter>();
  readonly #replies: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  readonly #errors: string[] = [];
  readonly #eventWaiters: { match: (event: QmpEvent) => boolean; resolve: () => void }[] = [];
  #cursor = 0;
  #ended = false;

  /** @param append the guest's command line; @param extra further QEMU arguments */
  constructor(append: string, extra: string[] = [], accel: string = accelerator()) {
    const args = ['-M', 'microvm', '-accel', accel, '-m', '128', '-nodefaults', '-display', 'none', '-no-reboot'];
    args.push('-kernel', GUEST_IMAGE, '-append', append, '-serial', 'stdio', ...extra);
    args.push('-chardev', 'socket,id=qmp,fd=3', '-mon', 'chardev=qmp,mode=control');
    args.push('-device', 'isa-debug-exit,iobase=0xf4,iosize=4');
    this.#child = spawn(QEMU, args, { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    this.#qmp = this.#child.stdio[3] as Duplex;
    // QEMU outlives its parent: a test that is cut short must not leave it behind.
    const killAtExit = () => this.#child.kill('SIGKILL');
    process.once('exit', killAtExit);
    this.exited = new Promise((resolve) => {
      this.#child.on('error', (error) => this.#end(error, () => resolve(null)));
      this.#child.on('close', (code) => {
        process.off('exit', killAtExit);
        this.#end(new Error(`QEMU ended with ${code}`), () => resolve(code));
      });
    });
    this.#child.stdin?.on('error', () => {});
    this.#qmp.on('error', () => {});
    eachLine(this.#child.stderr!, (line) => this.#errors.push(line));
    eachLine(this.#child.stdout!, (line) => {
      this.lines.push(line);
      for (const waiter of this.#waiters) {
        const found = waiter.match(line);
        if (found) {
          this.#waiters.delete(waiter);
          this.#cursor = this.lines.length;
          waiter.resolve(found);
        }
      }
    });
    eachLine(this.#qmp, (line) => this.#message(JSON.parse(line)));
    this.execute('qmp_capabilities').catch(() => {});
  }

  /** The next line that matches, behind the last one that was waited for. Rejects when QEMU ends first. */
  nextLine(pattern: RegExp): Promise<RegExpExecArray> {
    for (let i = this.#cursor; i < this.lines.length; i++) {
      const found = pattern.exec(this.lines[i]!);
      if (found) {
        this.#cursor = i + 1;
        return Promise.resolve(found);
      }
    }
    return new Promise((resolve, reject) => {
      if (this.#ended) reject(new Error(`QEMU has ended: ${this.#errors.join('; ')}`));
      else this.#waiters.add({ match: (line) => pattern.exec(line), resolve, reject });
    });
  }

  /** Sends a command to the guest and gives the line that answers it. */
  ask(command: string, answer: RegExp): Promise<RegExpExecArray> {
    this.#cursor = this.lines.length;
    const line = this.nextLine(answer);
    this.#child.stdin?.write(command);
    return line;
  }

  /** Sends a command that has no answer. */
  send(command: string): void {
    this.#child.stdin?.write(command);
  }

  execute(command: string, args: object = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended) reject(new Error('QEMU has ended'));
      this.#replies.push({ resolve, reject });
      this.#qmp.write(JSON.stringify({ execute: command, arguments: args }));
    });
  }

  /** Resolves at the next QMP event that matches. */
  nextEvent(match: (event: QmpEvent) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#eventWaiters.push({ match, resolve });
    });
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }

  #message(message: QmpMessage): void {
    if (message.event) {
      const event: QmpEvent = { event: message.event, data: message.data ?? {} };
      const hit = this.#eventWaiters.findIndex((w) => w.match(event));
      if (hit >= 0) this.#eventWaiters.splice(hit, 1)[0]?.resolve();
    } else if (!message.QMP) {
      const reply = this.#replies.shift();
      if (message.error) reply?.reject(new Error(message.error.desc));
      else reply?.resolve(message.return);
    }
  }

  #end(error: Error, done: () => void): void {
    this.#ended = true;
    const cause = new Error(`${error.message} ${this.#errors.join('; ')}`);
    for (const waiter of this.#waiters) waiter.reject(cause);
    for (const reply of this.#replies) reply.reject(cause);
    this.#waiters.clear();
    this.#replies.length = 0;
    done();
  }
}

export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
}

interface QmpMessage {
  QMP?: object;
  event?: string;
  data?: Record<string, unknown>;
  return?: unknown;
  error?: { desc: string };
}

function eachLine(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('latin1');
  stream.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part.trim() !== '') take(part.replace(/\r$/, ''));
  });
}
