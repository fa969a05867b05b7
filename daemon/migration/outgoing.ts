/** Main's end of one outgoing migration: it owns the socket and the thread, and does for the thread what only main may do. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { MigrationStatus } from '../../schemas/generated/qmp.js';
import type { Lifecycle } from '../lifecycle/lifecycle.js';
import type { DaemonLog } from '../log.js';
import type { Machine } from '../machine/machine.js';
import { connectFailure, describeFailure } from './errors.js';
import { machineDescription } from './machine_description.js';
import type { DowntimeBreakdown, OutgoingData, OutgoingMessage, ToOutgoing } from './messages.js';
import type { ParameterValues } from './parameters.js';
import type { EpochRecord } from './policy/epochs.js';
import type { MplmSettings } from './policy/settings.js';
import { CONTROL, createSharedProgress, nowMs, PARAMETER, type SharedProgress, VERDICT, wake } from './progress.js';
import type { LinkData, Transport } from './transport.js';

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
  /** The destination's answers come back over the channel. */
  answers: boolean;
  autoConverge: boolean;
  /** Once all is copied, the guest goes on here. */
  checkpoint: boolean;
  pauseBeforeSwitchover: boolean;
  /** The guest's, where the destination shall refuse another. */
  uuid: string | undefined;
  /** They may change while it runs, see `setParameters`. */
  parameters: ParameterValues;
  /** The status changed, or (`MIGRATION_PASS`) a sync was made. */
  onStatus: (status: MigrationStatus) => void;
  onPass: (pass: number) => void;
}

type PausedGuest = Awaited<ReturnType<Lifecycle['pauseForMigration']>>;

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
  #transport: Transport | undefined;
  /** The guest as the pause found it. */
  #found: PausedGuest | undefined;
  #port: MessagePort | undefined;
  #settling: Promise<void> = Promise.resolve();

  /** @param open see `outgoingTransport` */
  constructor(open: () => Promise<Transport>, options: OutgoingOptions) {
    this.#options = options;
    this.mplm = options.mplm;
    this.setParameters(options.parameters);
    this.ended = this.#run(open);
  }

  get active(): boolean {
    return this.endedMs === undefined;
  }

  /** Percent of the vCPUs' time that this migration takes; 0: none. */
  get cpuThrottlePercentage(): number {
    return this.#options.machine.throttle.percent;
  }

  /** Takes effect at the thread's next step. */
  setParameters(values: ParameterValues): void {
    const { parameters } = this.progress;
    parameters[PARAMETER.MAX_BANDWIDTH] = Number(values['max-bandwidth']);
    parameters[PARAMETER.DOWNTIME_LIMIT_MS] = Number(values['downtime-limit']);
    parameters[PARAMETER.THROTTLE_TRIGGER_THRESHOLD] = values['throttle-trigger-threshold'];
    parameters[PARAMETER.CPU_THROTTLE_INITIAL] = values['cpu-throttle-initial'];
    parameters[PARAMETER.CPU_THROTTLE_INCREMENT] = values['cpu-throttle-increment'];
    parameters[PARAMETER.MAX_CPU_THROTTLE] = values['max-cpu-throttle'];
    parameters[PARAMETER.CPU_THROTTLE_TAILSLOW] = values['cpu-throttle-tailslow'] ? 1 : 0;
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
    this.#transport?.cut();
  }

  /** Cuts the channel: whatever is sent or awaited fails at once. */
  yank(): void {
    if (!this.active) return;
    Atomics.store(this.progress.control, CONTROL.CUT, 1);
    wake(this.progress.control);
    this.#transport?.cut();
  }

  #setStatus(status: MigrationStatus): void {
    this.status = status;
    this.#options.onStatus(status);
  }

  async #run(open: () => Promise<Transport>): Promise<void> {
    try {
      this.#transport = await open();
      if (this.#cancelled) throw new Error('cancelled');
      await this.#thread(this.#transport.link);
    } catch (error) {
      await this.#end({ type: 'failed', stage: 'connect', cause: (error as Error).message, outcomeUnknown: false });
    } finally {
      // Whoever reads must not take what was sent for a whole guest that is only slow to come.
      if (this.status !== 'completed') this.#transport?.cut();
      this.#transport?.close();
    }
  }

  get #cancelled(): boolean {
    return Atomics.load(this.progress.control, CONTROL.VERDICT) === VERDICT.CANCELLED;
  }

  /** Resolves when the thread is gone and what it reported is dealt with. */
  async #thread(link: LinkData): Promise<void> {
    const { machine } = this.#options;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const data: OutgoingData = {
      link,
      oneWay: !this.#options.answers,
      autoConverge: this.#options.autoConverge,
      pauseBeforeSwitchover: this.#options.pauseBeforeSwitchover,
      uuid: this.#options.uuid,
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
      case 'throttle':
        this.#options.machine.throttle.set(message.percent);
        return;
      case 'pause':
        await this.#pause();
        return;
      case 'device':
        await this.#sendState();
        return;
      case 'finish':
        await this.#finish();
        return;
      case 'completed':
        this.downtimeMs = message.downtimeMs;
        this.breakdown = message.breakdown;
        if (this.#options.checkpoint) {
          this.#options.console.release(false);
          await this.#options.lifecycle.migrationFailed();
        } else {
          await this.#options.lifecycle.migrated();
          this.#options.console.release(true);
        }
        this.#close('completed', message.endedMs);
        return;
      case 'failed':
      case 'cancelled':
        await this.#end(message);
        return;
    }
  }

  /** Parks the vCPUs; the thread may then wait for `migrate-continue`. */
  async #pause(): Promise<void> {
    try {
      this.#found = await this.#options.lifecycle.pauseForMigration();
      this.#options.console.hold();
      this.#tell({ type: 'paused' });
      if (this.#options.pauseBeforeSwitchover && this.status === 'active') this.#setStatus('pre-switchover');
    } catch (error) {
      this.#tell({ type: 'failed', cause: (error as Error).message });
    }
  }

  /** QMP `migrate-continue`: what waits before its switchover goes on. */
  continue(): void {
    if (this.status === 'pre-switchover') this.#tell({ type: 'continue' });
  }

  /** Sends the state of the paused machine after: the thread sends the last pages meanwhile. */
  async #sendState(): Promise<void> {
    try {
      if (this.status === 'pre-switchover') this.#setStatus('device');
      const sections = [];
      for await (const section of this.#options.machine.saveState()) sections.push(section);
      this.#tell({ type: 'state', sections, ...(this.#found as PausedGuest) });
    } catch (error) {
      this.#tell({ type: 'failed', cause: (error as Error).message });
    }
  }

  /** Of a one-way channel: its reader finds the end, and says how it fared. */
  async #finish(): Promise<void> {
    try {
      await (this.#transport as Transport).finish();
      this.#tell({ type: 'finished' });
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
    const target = this.#transport?.target;
    this.errorDesc =
      message.stage === 'connect' && target !== undefined
        ? connectFailure(target, message.cause)
        : describeFailure(message.stage, message.cause);
    this.#close('failed', nowMs());
  }

  #close(status: MigrationStatus, endedMs: number): void {
    this.#options.machine.throttle.set(0);
    this.endedMs = endedMs;
    this.extended = false;
    this.#setStatus(status);
  }
}
