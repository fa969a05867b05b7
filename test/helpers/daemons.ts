/** Runs the built daemon as a child process: a directory of its own, real QMP and serial sockets, and nothing of it left afterwards. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  watch,
} from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { QmpClient, type QmpEvent } from '../../client/qmp_client.js';

const DAEMON = fileURLToPath(new URL('../../daemon/vmhostd.js', import.meta.url));
const GUEST_IMAGE = fileURLToPath(new URL('../../../guest/vmguest.elf', import.meta.url));
const START_MS = 20_000;
const LINE_MS = 20_000;

/** What of a tap test the helpers here use. */
export interface TestScope {
  teardown(action: () => void | Promise<void>): unknown;
}

/** Why no guest can run here, or false. */
export function noKvm(): string | false {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return false;
  } catch (error) {
    return `/dev/kvm cannot be opened (${(error as NodeJS.ErrnoException).code})`;
  }
}

let wrapper: string[] | undefined;

/** Makes a program end when its parent does, even when that is killed: setpriv(1) of util-linux, where it is installed. */
function dieWithParent(): string[] {
  wrapper ??=
    spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0 ? ['setpriv', '--pdeathsig', 'KILL'] : [];
  return wrapper;
}

/** A promise's result, or an error that says what was waited for. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export interface DaemonArguments {
  /** `-m`, MiB: 64 by default. */
  memory?: number;
  /** The built-in guest's command line; undefined: no kernel, for a destination. */
  guest?: string;
  /** `-incoming`. */
  incoming?: string;
  /** More arguments, such as `-S`. */
  more?: readonly string[];
}

/** How a daemon ended. */
export interface DaemonExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** One running daemon, with a QMP client that has seen every event since the guest was there. */
export class TestDaemon {
  readonly dir: string;
  readonly exited: Promise<DaemonExit>;
  /** Every event so far. */
  readonly events: QmpEvent[] = [];
  /** All that the guest printed here, as it is and line by line. */
  text = '';
  readonly lines: string[] = [];
  /** What it said, but for whom it waited. */
  stderr = '';
  qmp!: QmpClient;
  readonly #child: ChildProcess;
  readonly #serial: Server;
  readonly #output = new EventEmitter<{ line: [string] }>();
  #peer: Socket | undefined;
  #partial = '';

  private constructor(dir: string, child: ChildProcess, serial: Server) {
    this.dir = dir;
    this.#child = child;
    this.#serial = serial;
    this.#output.setMaxListeners(0);
    process.setMaxListeners(0);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text.replace(/^vmhostd: info: waiting for connection on: .*\n/m, '');
    });
    // `close` comes after the last byte of stderr.
    this.exited = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    void this.exited.then(() => process.off('exit', kill));
    serial.on('connection', (socket) => {
      this.#peer = socket;
      socket.setEncoding('latin1').on('data', (text) => this.#printed(String(text)));
      socket.on('error', () => socket.destroy());
    });
  }

  /** Starts a daemon and connects to it; the end of the test `t` ends it, however it goes. */
  static async start(t: TestScope, options: DaemonArguments = {}): Promise<TestDaemon> {
    const dir = mkdtempSync(join(tmpdir(), 'vmhostd-test-'));
    const serial = createServer();
    serial.listen(join(dir, 'serial'));
    await once(serial, 'listening');
    const [program, ...first] = [...dieWithParent(), process.execPath, DAEMON];
    const child = spawn(
      program as string,
      [
        ...first,
        ...['-m', String(options.memory ?? 64)],
        ...['-serial', `unix:${join(dir, 'serial')}`],
        // Nothing happens before the client is there, so it misses nothing.
        ...['-qmp', `unix:${join(dir, 'qmp')},server=on,wait=on`],
        ...['-pidfile', join(dir, 'pid')],
        ...(options.guest === undefined ? [] : ['-kernel', GUEST_IMAGE, '-append', options.guest]),
        ...(options.incoming === undefined ? [] : ['-incoming', options.incoming]),
        ...(options.more ?? []),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, VMHOSTD_LOG: 'fatal' } },
    );
    const daemon = new TestDaemon(dir, child, serial);
    t.teardown(() => daemon.#end());
    await within(START_MS, 'the daemon starts', Promise.race([daemon.#pidfile(), daemon.#diedEarly()]));
    daemon.qmp = await QmpClient.connect(`unix:${join(dir, 'qmp')}`);
    daemon.qmp.on('event', (event) => daemon.events.push(event));
    await daemon.qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    return daemon;
  }

  /** A source whose guest has filled its memory and beats. */
  static async source(t: TestScope, guest: string, options: DaemonArguments = {}): Promise<TestDaemon> {
    const daemon = await TestDaemon.start(t, { ...options, guest });
    await daemon.line(/^HB 1 /);
    return daemon;
  }

  /**
   * A destination that listens on `uri` (by default a UNIX socket in its directory).
   * @returns the daemon and the URI to migrate to, a TCP port of 0 replaced by the real one
   */
  static async destination(
    t: TestScope,
    { uri, ...options }: DaemonArguments & { uri?: string } = {},
  ): Promise<{ daemon: TestDaemon; uri: string }> {
    const daemon = await TestDaemon.start(t, { ...options, incoming: 'defer' });
    await daemon.qmp.execute('migrate-incoming', { uri: uri ?? `unix:${join(daemon.dir, 'in')}` });
    return { daemon, uri: await daemon.listeningUri() };
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Where an incoming migration listens, from `query-migrate`. */
  async listeningUri(): Promise<string> {
    const address = (await this.qmp.execute('query-migrate'))['socket-address']?.[0];
    if (address?.type === 'unix') return `unix:${address.path}`;
    if (address?.type === 'inet') return `tcp:${address.host}:${address.port}`;
    throw new Error('the daemon does not listen for a migration');
  }

  /** The first line printed at or after line number `from` that matches, as soon as it is there. */
  line(pattern: RegExp, { from = 0, timeoutMs = LINE_MS } = {}): Promise<RegExpExecArray> {
    for (const line of this.lines.slice(from)) {
      const found = pattern.exec(line);
      if (found) return Promise.resolve(found);
    }
    let onLine: (line: string) => void = () => undefined;
    const printed = new Promise<RegExpExecArray>((resolve) => {
      onLine = (line) => {
        const found = pattern.exec(line);
        if (found) resolve(found);
      };
      this.#output.on('line', onLine);
    });
    return within(timeoutMs, `the guest prints ${pattern}, after '${this.lines.at(-1)}'`, printed).finally(() =>
      this.#output.off('line', onLine),
    );
  }

  /** The next line that matches, from now on. */
  nextLine(pattern: RegExp): Promise<RegExpExecArray> {
    return this.line(pattern, { from: this.lines.length });
  }

  /** Types at the guest's serial port. */
  type(text: string): void {
    if (!this.#peer) throw new Error('the daemon has not opened its serial port');
    this.#peer.write(text, 'latin1');
  }

  /** The guest checks all its memory: its answer. */
  async verify(): Promise<string> {
    const answer = this.nextLine(/^(VERIFY|STALE|FAULT|ERROR).*/);
    this.type('v');
    return (await answer)[0];
  }

  /** An event that came, or comes. */
  async event<E extends QmpEvent['event']>(
    name: E,
    matches: (event: Extract<QmpEvent, { event: E }>) => boolean = () => true,
    { timeoutMs = 20_000, from = 0 } = {},
  ): Promise<Extract<QmpEvent, { event: E }>> {
    const wanted = (event: QmpEvent) => event.event === name && matches(event as Extract<QmpEvent, { event: E }>);
    const found = this.events.slice(from).find(wanted);
    if (found) return found as Extract<QmpEvent, { event: E }>;
    let onEvent: (event: QmpEvent) => void = () => undefined;
    const came = new Promise<Extract<QmpEvent, { event: E }>>((resolve) => {
      onEvent = (event) => {
        if (wanted(event)) resolve(event as Extract<QmpEvent, { event: E }>);
      };
      this.qmp.on('event', onEvent);
    });
    return within(timeoutMs, `event ${name}`, came).finally(() => this.qmp.off('event', onEvent));
  }

  /** Events as text: the name, or for MIGRATION and MIGRATION_PASS with their datum. */
  eventNames(from = 0): string[] {
    return this.events.slice(from).map(({ event, data }) => {
      if (event === 'MIGRATION') return `MIGRATION ${data.status}`;
      if (event === 'MIGRATION_PASS') return `MIGRATION_PASS ${data.pass}`;
      return event;
    });
  }

  /** `query-status`'s status. */
  async status(): Promise<string> {
    return (await this.qmp.execute('query-status')).status;
  }

  /** Sends a signal to this daemon alone. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** What of the system this process holds: fds, of these memfds and sockets; threads of its own; bytes of its own memory. */
  resources(): { fds: number; memfds: number; sockets: number; threads: number; anonymousBytes: number } {
    const proc = `/proc/${this.pid}`;
    const targets = readdirSync(`${proc}/fd`).flatMap((fd) => existing(() => readlinkSync(`${proc}/fd/${fd}`)));
    const names = readdirSync(`${proc}/task`).flatMap((tid) =>
      existing(() => readFileSync(`${proc}/task/${tid}/comm`, 'utf8')),
    );
    return {
      fds: targets.length,
      memfds: targets.filter((target) => target.startsWith('/memfd:')).length,
      sockets: targets.filter((target) => target.startsWith('socket:')).length,
      // The kernel adds threads of KVM's to the process that runs a guest.
      threads: names.filter((name) => !name.startsWith('kvm-')).length,
      anonymousBytes: this.memory('RssAnon'),
    };
  }

  /** A figure of proc_pid_status(5) that is given in kB, in bytes. */
  memory(figure: 'RssAnon' | 'VmHWM'): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(new RegExp(`^${figure}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  }

  #printed(text: string): void {
    this.text += text;
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() as string;
    for (const line of lines) {
      this.lines.push(line);
      this.#output.emit('line', line);
    }
  }

  /** Resolves once the pid file is written: by then every QMP socket listens. */
  async #pidfile(): Promise<void> {
    const path = join(this.dir, 'pid');
    using watcher = closing(watch(this.dir));
    if (existsSync(path)) return;
    await new Promise<void>((resolve) => {
      watcher.of.on('change', () => {
        if (existsSync(path)) resolve();
      });
    });
  }

  async #diedEarly(): Promise<never> {
    const { code, signal } = await this.exited;
    throw new Error(`the daemon ended with ${code ?? signal} before it was up: ${this.stderr}`);
  }

  async #end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
    this.#peer?.destroy();
    this.#serial.close();
    await this.qmp?.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function closing<T extends { close(): void }>(of: T): { of: T } & Disposable {
  return { of, [Symbol.dispose]: () => of.close() };
}

/** What `read` gives, unless it is gone by then. */
function existing(read: () => string): string[] {
  try {
    return [read()];
  } catch {
    return [];
  }
}
