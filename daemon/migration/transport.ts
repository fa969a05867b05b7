/** What a migration's bytes go through, as main owns it: opened for one migration, and closed at its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fstatSync, type Stats } from 'node:fs';
import { SysError, strerror } from '../../kvm/errors.js';
import { closeFd } from '../../kvm/memory.js';
import { createPipe } from '../../kvm/pipes.js';
import { type SocketAddress, shutdownSocket, startConnect } from '../../kvm/sockets.js';
import { genericError } from '../../protocol/qmp_errors.js';
import { connectFailure } from './errors.js';
import type { StreamFds } from './stream_link.js';
import { type MigrationAddress, resolveMigrationAddress, type TcpAddress } from './uri.js';

/** What the migration's thread works with. */
export type LinkData =
  | { readonly kind: 'socket'; readonly fd: number; readonly tcp: boolean; readonly connecting: boolean }
  | ({ readonly kind: 'stream' } & StreamFds);

export interface Transport {
  readonly link: LinkData;
  /** Where a socket connects to. */
  readonly target?: string;
  /** Ends what the peer waits for, and releases a thread that is blocked in it. */
  cut(): void;
  /** All was sent: the reader finds the end. Resolves when it took all; rejects with what it says of that. */
  finish(): Promise<void>;
  /** Closes this process's fds. Once. */
  close(): void;
}

/** Gives the fd of a name that a client chose, once. */
export type TakeFd = (name: string) => number | undefined;

class SocketTransport implements Transport {
  readonly link: Extract<LinkData, { kind: 'socket' }>;
  readonly target?: string;

  constructor(fd: number, options: { tcp: boolean; connecting: boolean; target?: string }) {
    const { target, ...kind } = options;
    this.link = { kind: 'socket', fd, ...kind };
    if (target !== undefined) this.target = target;
  }

  cut(): void {
    shutdownSocket(this.link.fd);
  }

  async finish(): Promise<void> {}

  close(): void {
    closeFd(this.link.fd);
  }
}

/** A pipe, a file, or whatever else an fd may be. */
class FdTransport implements Transport {
  readonly link: LinkData;
  readonly #fd: number;

  constructor(fd: number, direction: 'in' | 'out') {
    this.#fd = fd;
    this.link = { kind: 'stream', noun: 'file', ...(direction === 'in' ? { input: fd } : { output: fd }) };
  }

  /** Nothing but the thread itself could release the thread: it looks whether it should stop. */
  cut(): void {}

  async finish(): Promise<void> {}

  close(): void {
    closeFd(this.#fd);
  }
}

/** How long a command that is told to end may take before it is killed. */
const KILL_MS = 1000;

/** A command of the shell: its standard input is written to, its standard output read from. */
class ExecTransport implements Transport {
  readonly link: Extract<LinkData, { kind: 'stream' }>;
  readonly #child: ChildProcess;
  readonly #exited: Promise<string | undefined>;
  readonly #open = new Set<number>();
  #over = false;

  /** @param ends which of them are wanted; its input is empty and its output goes nowhere where not */
  constructor(command: string, ends: { input: boolean; output: boolean }) {
    const own: { input?: number; output?: number } = {};
    const theirs: number[] = [];
    const pipe = (wanted: boolean, end: 'input' | 'output'): number | 'ignore' => {
      if (!wanted) return 'ignore';
      const { read, write } = createPipe();
      const [mine, other] = end === 'input' ? [read, write] : [write, read];
      own[end] = mine;
      this.#open.add(mine);
      theirs.push(other);
      return other;
    };
    try {
      // A group of its own: what the shell started ends with it.
      this.#child = spawn('/bin/sh', ['-c', command], {
        stdio: [pipe(ends.output, 'output'), pipe(ends.input, 'input'), 'inherit'],
        detached: true,
      });
    } finally {
      for (const fd of theirs) closeFd(fd);
    }
    this.link = { kind: 'stream', noun: 'command', ...own };
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(`Failed to run the command: ${error.message}`));
      this.#child.once('exit', (code, signal) => {
        this.#over = true;
        if (code === 0) resolve(undefined);
        else resolve(code === null ? `Command was killed by ${signal}` : `Command exited with code ${code}`);
      });
    });
    this.#child.unref();
  }

  cut(): void {
    this.#kill('SIGTERM');
    setTimeout(() => this.#kill('SIGKILL'), KILL_MS).unref();
  }

  #kill(signal: NodeJS.Signals): void {
    if (this.#over || this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch (error) {
      // It ended in this moment: what should be so is so.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  async finish(): Promise<void> {
    if (this.link.output !== undefined) this.#closeOne(this.link.output);
    const failure = await this.#exited;
    if (failure !== undefined) throw new Error(failure);
  }

  #closeOne(fd: number): void {
    if (this.#open.delete(fd)) closeFd(fd);
  }

  close(): void {
    for (const fd of this.#open) this.#closeOne(fd);
  }
}

/**
 * What `migrate` opens. An fd is taken at once; a name that cannot be resolved, or an address that refuses, fails the migration, not the command.
 * @param answers whether the peer's answers are to come back
 * @throws QmpError where there is no such fd
 */
export function outgoingTransport(
  address: MigrationAddress,
  { takeFd, answers }: { takeFd: TakeFd; answers: boolean },
): () => Promise<Transport> {
  switch (address.kind) {
    case 'fd': {
      const transport = passedFd(address.name, takeFd(address.name), 'out');
      return async () => transport;
    }
    case 'exec':
      return async () => new ExecTransport(address.command, { output: true, input: answers });
    default:
      return async () => {
        const to = await resolveMigrationAddress(address, false);
        // The name as it was given, not what it resolved to.
        const target = to.kind === 'unix' ? to.path : `${(address as TcpAddress).host}:${to.port}`;
        return new SocketTransport(connecting(to, target), { tcp: to.kind === 'tcp', connecting: true, target });
      };
  }
}

/** A socket that is being connected. @throws Error in QEMU's words, where that is refused at once */
function connecting(to: SocketAddress, target: string): number {
  try {
    return startConnect(to);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new Error(connectFailure(target, strerror(error.errno)), { cause: error });
  }
}

function passedFd(name: string, fd: number | undefined, direction: 'in' | 'out'): Transport {
  if (fd === undefined) throw genericError(`File descriptor named '${name}' has not been found`);
  return fstatSync(fd).isSocket()
    ? new SocketTransport(fd, { tcp: false, connecting: false })
    : new FdTransport(fd, direction);
}

/** An fd that whoever started this process left open for it. Node has closed it on exec. */
function inheritedFd(name: string): number {
  const fd = Number(name);
  const kind = /^\d{1,9}$/.test(name) ? fstatOf(fd) : undefined;
  // What is none of these is something of this process's own, like an epoll.
  if (kind?.isSocket() || kind?.isFIFO() || kind?.isFile() || kind?.isCharacterDevice()) return fd;
  throw genericError(`Invalid file descriptor number '${name}'`);
}

function fstatOf(fd: number): Stats | undefined {
  try {
    return fstatSync(fd);
  } catch {
    return undefined; // not open, which is the caller's to say
  }
}

/**
 * What `migrate-incoming` and `-incoming` open of an fd or a command.
 * @param takeFd of the client; undefined on the command line, where no fd has a name yet
 * @throws QmpError in QEMU's words
 */
export function incomingTransport(
  address: Extract<MigrationAddress, { kind: 'fd' | 'exec' }>,
  takeFd: TakeFd | undefined,
): Transport {
  if (address.kind === 'exec') return new ExecTransport(address.command, { input: true, output: true });
  const { name } = address;
  if (takeFd && !/^\d/.test(name)) return passedFd(name, takeFd(name), 'in');
  return passedFd(name, inheritedFd(name), 'in');
}

/** A socket on which a source is waited for. */
export interface MigrationListener {
  readonly fd: number;
  /** With the real port. */
  readonly address: SocketAddress;
  /** It listens on this address of the other family too. */
  readonly also?: SocketAddress;
}
