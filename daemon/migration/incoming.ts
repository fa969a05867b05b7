/** Main's end of one incoming migration: it owns the sockets and the thread, loads the machine and runs it. */
import { rmSync } from 'node:fs';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { closeFd } from '../../kvm/memory.js';
import { shutdownSocket } from '../../kvm/sockets.js';
import type { MigrationStatus } from '../../schemas/generated/qmp.js';
import type { Lifecycle } from '../lifecycle/lifecycle.js';
import type { DaemonLog } from '../log.js';
import type { Machine } from '../machine/machine.js';
import { describeFailure } from './errors.js';
import { machineDescription } from './machine_description.js';
import type { Digest, IncomingData, IncomingMessage, ToIncoming } from './messages.js';
import { CONTROL, createSharedProgress, type SharedProgress, VERDICT, wake } from './progress.js';
import type { MigrationListener, Transport } from './transport.js';

export interface IncomingOptions {
  machine: Machine;
  lifecycle: Lifecycle;
  log: DaemonLog;
  /** The most this side holds; the source's bound may lower it. */
  maxBufferBytes: number;
  /** This machine's: a guest that names another is refused. */
  uuid: string | undefined;
  onStatus: (status: MigrationStatus) => void;
}

/** One incoming migration, from a listening socket, or an open channel, to its end. */
export class Incoming {
  readonly progress: SharedProgress = createSharedProgress();
  /** What it listens on; undefined where the stream comes from an fd or a command. */
  readonly listener: MigrationListener | undefined;
  /** Resolves when the thread and the sockets are gone. */
  readonly ended: Promise<void>;
  status: MigrationStatus | undefined;
  errorDesc: string | undefined;
  readonly #options: IncomingOptions;
  readonly #transport: Transport | undefined;
  #connection: number | undefined;
  #port: MessagePort | undefined;
  #digest: Digest | undefined;
  #settling: Promise<void> = Promise.resolve();

  /** @param from a listener or a transport, owned from here on */
  constructor(from: MigrationListener | Transport, options: IncomingOptions) {
    this.#options = options;
    if ('link' in from) this.#transport = from;
    else this.listener = from;
    this.ended = this.#run();
  }

  get active(): boolean {
    return this.status === undefined || this.status === 'active';
  }

  /** Cuts the connection of a source that is there: the migration fails. One that only listens goes on listening. */
  yank(): void {
    if (!this.active) return;
    Atomics.store(this.progress.control, CONTROL.CUT, 1);
    this.#cut();
  }

  #cut(): void {
    wake(this.progress.control);
    this.#transport?.cut();
    if (this.#connection !== undefined) shutdownSocket(this.#connection);
  }

  /** Ends it, as the daemon ends: no status, no event. */
  async abandon(): Promise<void> {
    Atomics.compareExchange(this.progress.control, CONTROL.VERDICT, VERDICT.OPEN, VERDICT.CANCELLED);
    this.#cut();
    await this.ended;
  }

  async #run(): Promise<void> {
    const { machine } = this.#options;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const data: IncomingData = {
      from: this.listener?.fd ?? (this.#transport as Transport).link,
      tcp: this.listener?.address.kind === 'tcp',
      ram: machine.ram.handle,
      machine: machineDescription(machine),
      uuid: this.#options.uuid,
      progress: this.progress,
      maxBufferBytes: this.#options.maxBufferBytes,
    };
    const worker = new Worker(new URL('./incoming_worker.js', import.meta.url), {
      workerData: { ...data, port: port2 },
      transferList: [port2],
      name: 'migration-in',
    });
    let crash: Error | undefined;
    worker.on('error', (error: Error) => {
      crash = error;
    });
    port1.on('message', (message: IncomingMessage) => {
      if (message.type === 'connected') this.#connected(message.fd);
      else {
        this.#settling = this.#settling
          .then(() => this.#message(message))
          .catch((error: Error) => this.#fail(`'${message.type}' could not be served: ${error.message}`));
      }
    });
    await Promise.all([
      new Promise<void>((resolve) => port1.once('close', resolve)),
      new Promise<void>((resolve) => worker.once('exit', () => resolve())),
    ]);
    await this.#settling;
    this.#transport?.close();
    if (this.listener) closeFd(this.listener.fd);
    if (this.#connection !== undefined) closeFd(this.#connection);
    this.#connection = undefined;
    if (this.listener?.address.kind === 'unix') rmSync(this.listener.address.path, { force: true });
    if (crash) this.#fail(`the migration thread ended: ${crash.message}`);
  }

  #connected(fd: number): void {
    this.#connection = fd;
    if (Atomics.load(this.progress.control, CONTROL.VERDICT) === VERDICT.CANCELLED) shutdownSocket(fd);
  }

  async #message(message: Exclude<IncomingMessage, { type: 'connected' }>): Promise<void> {
    const { lifecycle, machine, log } = this.#options;
    switch (message.type) {
      case 'active':
        this.#setStatus('active');
        await machine.rehearse();
        return;
      case 'load':
        try {
          await machine.loadState(message.sections);
          this.#digest = message.digest;
          this.#tell({ type: 'loaded' });
        } catch (error) {
          this.#tell({ type: 'refused', reason: (error as Error).message });
        }
        return;
      case 'commit': {
        const { runState, pendingReset } = this.#digest as Digest;
        await lifecycle.arrived(runState, pendingReset);
        this.#tell({ type: 'running' });
        return;
      }
      case 'completed':
        if (message.warning) log.warn(message.warning);
        this.#setStatus('completed');
        return;
      case 'failed':
        this.#fail(describeFailure(message.stage, message.cause));
        return;
    }
  }

  #fail(errorDesc: string): void {
    this.errorDesc = errorDesc;
    this.#setStatus('failed');
  }

  #tell(message: ToIncoming): void {
    this.#port?.postMessage(message);
    wake(this.progress.control);
  }

  #setStatus(status: MigrationStatus): void {
    this.status = status;
    this.#options.onStatus(status);
  }
}
