/** A daemon as libvirt 9 starts it, and the monitor that it speaks to it on: taken down from its log. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { listenOn } from '../../kvm/sockets.js';
import { encodeJson } from '../../protocol/json_writer.js';
import { GUEST, VMHOSTD } from '../helpers/daemon.js';
import { within } from '../helpers/daemons.js';
import { FdClient } from '../helpers/fd_client.js';

const PATIENCE_MS = 30_000;

export interface Message {
  readonly id?: string;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: { readonly [member: string]: unknown };
}

/** libvirt's monitor: ids of its own, `\r\n` after each command and expected after each message. */
export class LibvirtMonitor {
  readonly #client: FdClient;
  #lastId = 0;

  private constructor(client: FdClient) {
    this.#client = client;
  }

  /** Connects, reads the greeting and negotiates. */
  static async connect(t: Test, path: string): Promise<LibvirtMonitor> {
    const client = new FdClient(path);
    t.teardown(() => client.close());
    const monitor = new LibvirtMonitor(client);
    await monitor.#until(`the greeting on ${path}`, (messages) => messages[0]);
    await monitor.execute('qmp_capabilities');
    return monitor;
  }

  /** Everything that came, as it came. */
  get text(): string {
    return this.#client.text;
  }

  /** Every message so far. */
  get messages(): Message[] {
    return this.#client.text
      .split('\r\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  /** Sends a command, with file descriptors in the same write. @returns the message that answers it, refusals too */
  ask(name: string, args?: object, fds: readonly number[] = []): Promise<Message> {
    const id = `libvirt-${++this.#lastId}`;
    this.#client.send(`${encodeJson({ execute: name, arguments: args, id })}\r\n`, fds);
    return this.#until(`the answer to ${name}`, (messages) => messages.find((message) => message.id === id));
  }

  /** The same for what must not be refused. @returns what it returns */
  async execute(name: string, args?: object, fds: readonly number[] = []): Promise<unknown> {
    const answer = await this.ask(name, args, fds);
    if (answer.error) throw new Error(`${name}: ${answer.error.desc}`);
    return answer.return;
  }

  /** A MIGRATION event of that status, that came or comes. */
  migration(status: string): Promise<Message> {
    return this.#until(`MIGRATION ${status}`, (messages) =>
      messages.find((message) => message.event === 'MIGRATION' && message.data?.status === status),
    );
  }

  /** Switches the capabilities that libvirt knows, all of them each time. */
  async setCapabilities(...on: string[]): Promise<void> {
    const known = ['auto-converge', 'pause-before-switchover', 'late-block-activate', 'return-path'];
    const capabilities = known.map((capability) => ({ capability, state: on.includes(capability) }));
    await this.execute('migrate-set-capabilities', { capabilities });
  }

  #until<T>(what: string, find: (messages: Message[]) => T | undefined): Promise<T> {
    const found = async (): Promise<T> => {
      await this.#client.until(() => find(this.messages) !== undefined);
      const value = find(this.messages);
      if (value === undefined) throw new Error(`${what} did not come before the connection ended`);
      return value;
    };
    return within(PATIENCE_MS, what, found());
  }
}

export interface LibvirtDaemon {
  readonly dir: string;
  readonly monitor: LibvirtMonitor;
  readonly child: ChildProcess;
  /** What the guest printed here. */
  printed(): string;
}

/**
 * Starts a daemon with libvirt's arguments for a domain without devices and does what libvirt does before `cont`. A serial port is added, to see
 * the guest by.
 * @param inherited fds for the daemon, numbered from 4 on there; closed here
 */
export async function startAsLibvirt(
  t: Test,
  more: readonly string[] = [],
  inherited: readonly number[] = [],
): Promise<LibvirtDaemon> {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-libvirt-'));
  const path = join(dir, 'monitor.sock');
  const listener = listenOn({ kind: 'unix', path });
  const args = [
    ...['-name', 'guest=t1,debug-threads=on', '-S'],
    ...['-object', `secret,id=masterKey0,format=raw,file=${dir}/master-key.aes`],
    ...['-machine', 'pc-i440fx-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram', '-accel', 'kvm', '-cpu', 'host'],
    ...['-m', '64', '-object', 'memory-backend-ram,id=pc.ram,size=67108864', '-overcommit', 'mem-lock=off'],
    ...['-smp', '1,sockets=1,cores=1,threads=1', '-uuid', '11111111-2222-3333-4444-555555555555', '-display', 'none'],
    ...['-no-user-config', '-nodefaults', '-chardev', 'socket,id=charmonitor,fd=3,server=on,wait=off'],
    ...['-mon', 'chardev=charmonitor,id=monitor,mode=control', '-rtc', 'base=utc', '-no-shutdown', '-no-acpi'],
    ...['-boot', 'strict=on', '-kernel', GUEST, '-append', 'fill=16 ws=1 rate=500 hb=20'],
    ...['-audiodev', '{"id":"audio1","driver":"none"}', ...more, '-sandbox', 'off', '-msg', 'timestamp=on'],
    ...['-serial', `file:${dir}/serial`],
  ];
  const child = spawn(process.execPath, [VMHOSTD, ...args], {
    stdio: ['ignore', 'ignore', 'inherit', listener.fd, ...inherited],
    env: { ...process.env, VMHOSTD_LOG: 'fatal' },
  });
  const exited = new Promise((resolve) => child.once('close', resolve));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(dir, { recursive: true, force: true });
  });
  // libvirt holds the listening socket until it has connected: the daemon need not have started by then.
  const monitor = await LibvirtMonitor.connect(t, path);
  for (const fd of [listener.fd, ...inherited]) closeSync(fd);
  await monitor.execute('query-migrate-capabilities');
  await monitor.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  await monitor.execute('query-chardev');
  await monitor.execute('query-hotpluggable-cpus');
  const [cpu] = (await monitor.execute('query-cpus-fast')) as { 'qom-path': string }[];
  await monitor.execute('qom-list', { path: cpu?.['qom-path'] });
  if (!more.includes('-incoming')) await monitor.execute('query-named-block-nodes', { flat: true });
  return { dir, monitor, child, printed: () => readFileSync(join(dir, 'serial'), 'latin1') };
}

/** The last things libvirt does before a guest runs, after its arrival too. */
export async function letRun({ monitor }: LibvirtDaemon): Promise<void> {
  await monitor.execute('qom-list', { path: '/machine/peripheral' });
  await monitor.execute('query-block');
  await monitor.execute('cont');
}
