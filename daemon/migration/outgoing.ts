/** Main's end of one outgoing migration: it owns the socket and the thread, and does for the thread what only main may do. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { SysError, strerror } from '../../kvm/errors.js';
import { closeFd } from '../../kvm/memory.js';
import { type SocketAddress, shutdownSocket, startConnect } from '../../kvm/sockets.js';
import type { MigrationStatus } from '../../schemas/generated/qmp.js';
import type { Lifecycle } from '../lifecycle/lifecycle.js';
import type { DaemonLog } from '../log.js';
import type { Machine } from '../machine/machine.js';
import { describeFailure } from './errors.js';
import { machineDescription } from './machine_description.js';
import type { DowntimeBreakdown, OutgoingData, OutgoingMessage, ToOutgoing } from './messages.js';
import type { ParameterValues } from './parameters.js';
import type { EpochRecord } from './policy/epochs.js';
import type { MplmSettings } from './policy/settings.js';
import { CONTROL, createSharedProgress, nowMs, PARAMETER, type SharedProgress, VERDICT, wake } from './progress.js';

/** The serial port's way out, which stands still while its state is carried. */
export interface ConsoleHold {
  hold(): void;
  release(discard: boolean): void;
}

export interface OutgoingOptions {
  machine: Machine;
  lifecycle: Lifecycle;
  console: ConsoleHold;
  log: DaemonLog;
  mplm: MplmSettings;
  maxBufferBytes: number;
  /** They may change while it runs, see `setParameters`. */
  parameters: ParameterValues;
  /** The status changed, or (`MIGRATION_PASS`) a sync was made. */
  onStatus: (status: MigrationStatus) => void;
  onPass: (pass: number) => void;
}

/** One outgoing migration, from `setup` to its end. */
export class Outgoing {
  readonly progress: SharedProgress = createSharedProgress();
  readonly mplm: MplmSettings;
  readonly startedMs = nowMs();
  /** Resolves when the thread, the socket and the dirty log are gone. */
  readonly ended: Promise<void>;
  status: MigrationStatus = 'setup';
  errorDesc: string | undefined;
  setupMs = 0;
  endedMs: number | undefined;
  downtimeMs: number | undefined;
  breakdown: DowntimeBreakdown | undefined;
  records: EpochRecord[] = [];
  extended = false;
  readonly #options: OutgoingOptions;
  #fd: number | undefined;
  /** Where it connects to, once that is resolved. */
  #target: string | undefined;
  #port: MessagePort | undefined;
  #settling: Promise<void> = Promise.resolve();

  /** @param address a resolver, since a name that cannot be resolved fails the migration, not the command */
  constructor(address: () => Promise<SocketAddress>, options: OutgoingOptions) {
    this.#options = options;
    this.mplm = options.mplm;
    this.setParameters(options.parameters);
    this.ended = this.#run(address);
  }

  get active(): boolean {
    return this.endedMs === undefined;
  }

  /** Takes effect at the thread's next step. */
  setParameters(values: ParameterValues): void {
    const { parameters } = this.progress;
    parameters[PARAMETER.MAX_BANDWIDTH] = Number(values['max-bandwidth']);
    parameters[PARAMETER.DOWNTIME_LIMIT_MS] = Number(values['downtime-limit']);
    wake(this.progress.control);
  }

  extend(on: boolean): void {
    this.extended = on;
    Atomics.store(this.progress.control, CONTROL.EXTEND, on ? 1 : 0);
    wake(this.progress.control);
  }

  /** Cancels, unless the destination has been told to run the guest: then it is too late and nothing changes. */
  cancel(): void {
    const { control } = this.progress;
    if (
      !this.active ||
      Atomics.compareExchange(control, CONTROL.VERDICT, VERDICT.OPEN, VERDICT.CANCELLED) !== VERDICT.OPEN
    ) {
      return;
    }
    this.#setStatus('cancelling');
    wake(control);
    if (this.#fd !== undefined) shutdownSocket(this.#fd);
  }

  /** Cuts the channel: whatever is sent or awaited fails at once. */
  yank(): void {
    if (this.active && this.#fd !== undefined) shutdownSocket(this.#fd);
  }

  #setStatus(status: MigrationStatus): void {
    this.status = status;
    this.#options.onStatus(status);
  }

  async #run(address: () => Promise<SocketAddress>): Promise<void> {
    try {
      const to = await address();
      if (this.#cancelled) throw new Error('cancelled');
      this.#target = to.kind === 'unix' ? to.path : `${to.host}:${to.port}`;
      this.#fd = startConnect(to);
      await this.#thread(this.#fd, to.kind === 'tcp');
    } catch (error) {
      await this.#end({ type: 'failed', stage: 'connect', cause: this.#connectFailure(error), outcomeUnknown: false });
    } finally {
      if (this.#fd !== undefined) closeFd(this.#fd);
      this.#fd = undefined;
    }
  }

  /** QEMU's sentence where the kernel refused the connection. */
  #connectFailure(error: unknown): string {
    if (error instanceof SysError && error.syscall === 'connect') return strerror(error.errno);
    return (error as Error).message;
  }

  get #cancelled(): boolean {
    return Atomics.load(this.progress.control, CONTROL.VERDICT) === VERDICT.CANCELLED;
  }

  /** Resolves when the thread is gone and what it reported is dealt with. */
  async #thread(fd: number, tcp: boolean): Promise<void> {
    const { machine } = this.#options;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const data: OutgoingData = {
      fd,
      tcp,
      vmFd: machine.vm.fd,
      ram: machine.ram.handle,
      machine: machineDescription(machine),
      progress: this.progress,
      mplm: this.mplm,
      maxBufferBytes: this.#options.maxBufferBytes,
      dirtyLogInitiallySet: machine.dirtyLogInitiallySet,
    };
    const worker = new Worker(new URL('./outgoing_worker.js', import.meta.url), {
      workerData: { ...data, port: port2 },
      transferList: [port2],
      name: 'migration-out',
    });
    let crash: Error | undefined;
    worker.on('error', (error: Error) => {
      crash = error;
    });
    port1.on('message', (message: OutgoingMessage) => {
      this.#settling = this.#settling
        .then(() => this.#message(message))
        .catch((error: Error) => {
          this.#options.log.error(
            { err: error },
            `'${message.type}' of the migration thread could not be served: ${error.message}`,
          );
        });
    });
    await Promise.all([
      new Promise<void>((resolve) => port1.once('close', resolve)),
      new Promise<void>((resolve) => worker.once('exit', () => resolve())),
    ]);
    await this.#settling;
    if (this.active) {
      const outcomeUnknown = Atomics.load(this.progress.control, CONTROL.VERDICT) === VERDICT.COMMITTED;
      const cause = `the migration thread ended: ${crash?.message ?? 'no cause given'}`;
      await this.#end({ type: 'failed', stage: 'live', cause, outcomeUnknown });
    }
  }

  async #message(message: OutgoingMessage): Promise<void> {
    switch (message.type) {
      case 'active':
        this.setupMs = message.setupMs;
        if (this.status === 'setup') this.#setStatus('active');
        return;
      case 'pass':
        this.#options.onPass(message.pass);
        return;
      case 'epochs':
        this.records = message.records;
        return;
      case 'pause':
        await this.#pause();
        return;
      case 'completed':
        this.downtimeMs = message.downtimeMs;
        this.breakdown = message.breakdown;
        await this.#options.lifecycle.migrated();
        this.#options.console.release(true);
        this.#close('completed', message.endedMs);
        return;
      case 'failed':
      case 'cancelled':
        await this.#end(message);
        return;
    }
  }

  /** Parks the vCPUs and sends their state after: the thread sends the last pages meanwhile. */
  async #pause(): Promise<void> {
    const { lifecycle, machine } = this.#options;
    try {
      const { runState, pendingReset } = await lifecycle.pauseForMigration();
      this.#tell({ type: 'paused' });
      this.#options.console.hold();
      const sections = [];
      for await (const section of machine.saveState()) sections.push(section);
      this.#tell({ type: 'state', sections, runState, pendingReset });
    } catch (error) {
      this.#tell({ type: 'failed', cause: (error as Error).message });
    }
  }

  #tell(message: ToOutgoing): void {
    this.#port?.postMessage(message);
    wake(this.progress.control);
  }

  /** The end without a new home for the guest: it goes on here, at once. */
  async #end(message: Extract<OutgoingMessage, { type: 'failed' | 'cancelled' }>): Promise<void> {
    const { lifecycle, console } = this.#options;
    console.release(false);
    if (message.type === 'failed' && message.outcomeUnknown) {
      await lifecycle.migrationOutcomeUnknown();
      this.errorDesc =
        `${describeFailure(message.stage, message.cause)}. ` +
        'The destination was told to run the guest and did not confirm it: the guest stays paused here; `cont` only if it does not run there';
      this.#close('failed', nowMs());
      return;
    }
    await lifecycle.migrationFailed();
    if (message.type === 'cancelled' || this.#cancelled) {
      this.#close('cancelled', nowMs());
      return;
    }
    this.errorDesc =
      message.stage === 'connect' && this.#target !== undefined
        ? `Failed to connect to '${this.#target}': ${message.cause}`
        : describeFailure(message.stage, message.cause);
    this.#close('failed', nowMs());
  }

  #close(status: MigrationStatus, endedMs: number): void {
    this.endedMs = endedMs;
    this.extended = false;
    this.#setStatus(status);
  }
}
