/**
 * The run state of a VM, as QEMU names it, and everything that changes it: users, the guest itself, migrations. Operations are
 * done one after the other; an event leaves before the reply of the command that caused it.
 */
import { QmpError } from '../../protocol/qmp_errors.js';
import type { EventData, EventName, RunState } from '../../schemas/generated/qmp.js';
import type { SleepingState } from '../devices/device.js';
import type { DaemonLog } from '../log.js';
import type { EntryRegisters, GuestStop } from '../vcpu/messages.js';
import type { RunActions } from './actions.js';
import type { MigratedRunState } from './migrated_run_states.js';
import type { RunnableMachine } from './runnable_machine.js';

/** Sends an event to every client. */
export type Emit = <E extends EventName>(
  event: E,
  ...data: EventData<E> extends undefined ? [] : [data: EventData<E>]
) => void;

export interface LifecycleOptions {
  /** Loads the kernel into RAM; gives the registers it is entered with. Undefined where no kernel was named. */
  loadKernel?: () => EntryRegisters;
  actions: RunActions;
  log: DaemonLog;
  emit: Emit;
  /** Tells whoever watches standard error. */
  say: (sentence: string) => void;
  /** The daemon should end with this exit code. */
  exit: (code: number) => void;
}

/** Why nothing else may pause or run the guest now. */
export const DUMP_IN_PROGRESS = 'There is a dump in process, please wait.';

type Shutdown = EventData<'SHUTDOWN'>;

const GUEST_RESET = { guest: true, reason: 'guest-reset' } as const;

/** States in which there is no guest here any more, or none that could go on: what its vCPUs still report changes nothing. */
const OVER: ReadonlySet<RunState> = new Set(['inmigrate', 'postmigrate', 'shutdown', 'internal-error']);

export class Lifecycle {
  readonly #machine: RunnableMachine;
  readonly #options: LifecycleOptions;
  #actions: RunActions;
  #status: RunState = 'prelaunch';
  /** Whether the guest ran before, so that running it again is resuming it. */
  #everRan = false;
  /** Where an incoming guest starts: as `-S`, `stop` and `cont` say. */
  #autostart = true;
  /** Serialises operations. */
  #queue: Promise<unknown> = Promise.resolve();
  /** What vCPUs reported of themselves and is not dealt with yet; while a migration holds the guest paused, it waits. */
  #stops: { readonly vcpu: number; readonly stop: GuestStop }[] = [];
  /** The state that a migration which holds the guest paused found it in. */
  #beforeMigration: RunState = 'prelaunch';
  /** A user said `stop` while a migration held the guest paused. */
  #stopWanted = false;
  #closed = false;

  /** While a dump reads the guest: whether it ran before, and so runs again after it. */
  #dump: { readonly ran: boolean } | undefined;

  constructor(machine: RunnableMachine, options: LifecycleOptions) {
    this.#machine = machine;
    this.#options = options;
    this.#actions = options.actions;
  }

  get status(): RunState {
    return this.#status;
  }

  get running(): boolean {
    return this.#status === 'running';
  }

  /** Loads the kernel and, unless `paused`, runs it. @throws BootError */
  start(paused: boolean): Promise<void> {
    return this.#serial(async () => {
      await this.#resetMachine();
      if (!paused) await this.#run('running');
    });
  }

  /** Waits for an incoming migration instead of loading a kernel. */
  awaitMigration(paused: boolean): void {
    this.#status = 'inmigrate';
    this.#autostart = !paused;
  }

  /** QMP `stop`. */
  stop(): Promise<void> {
    return this.#serial(async () => {
      this.#refuseWhileDumping();
      if (this.#status === 'inmigrate') this.#autostart = false;
      if (this.#status === 'finish-migrate') this.#stopWanted = true;
      if (this.running) await this.#pause('paused');
    });
  }

  /** QMP `cont`. @throws QmpError where the state does not allow it */
  cont(): Promise<void> {
    return this.#serial(async () => {
      this.#refuseWhileDumping();
      switch (this.#status) {
        case 'running':
          return;
        case 'suspended': // it is woken, not continued
          return;
        case 'inmigrate':
          this.#autostart = true;
          return;
        case 'finish-migrate':
          throw new QmpError('GenericError', 'Migration is not finalized yet');
        case 'shutdown':
        case 'internal-error':
          throw new QmpError('GenericError', 'Resetting the Virtual Machine is required');
        default:
          await this.#run('running');
          await this.#serveStops();
      }
    });
  }

  /** QMP `set-action`. */
  setActions(changes: Partial<RunActions>): void {
    this.#actions = { ...this.#actions, ...changes };
  }

  /** QMP `system_powerdown`. */
  powerdown(): Promise<void> {
    return this.#serial(async () => this.#powerdown());
  }

  #powerdown(): void {
    this.#options.emit('POWERDOWN');
    this.#machine.pressPowerButton();
  }

  /** QMP `system_wakeup`. @throws QmpError where the guest does not sleep */
  wakeup(): Promise<void> {
    return this.#serial(async () => {
      if (this.#status !== 'suspended') {
        throw new QmpError('GenericError', 'Unable to wake up: guest is not in suspended state');
      }
      await this.#machine.wake();
      this.#status = 'running';
      this.#options.emit('WAKEUP');
      await this.#machine.run(false);
    });
  }

  /** QMP `system_reset`. With `-no-reboot` it ends the daemon, as in QEMU. */
  systemReset(): Promise<void> {
    return this.#serial(async () => {
      this.#refuseWhileDumping();
      if (this.#status === 'finish-migrate') throw new QmpError('GenericError', 'Migration is not finalized yet');
      await this.#reboot({ guest: false, reason: 'host-qmp-system-reset' });
    });
  }

  /** Announces the end of the daemon; what the guest does from here on is not dealt with. */
  announceShutdown(cause: Shutdown): void {
    this.#options.emit('SHUTDOWN', cause);
    this.#closed = true;
  }

  /** A vCPU stopped by itself. */
  guestStop(vcpu: number, stop: GuestStop): void {
    // Noted at once: an operation under way that parks the vCPUs knows, when they are parked, all that they met.
    this.#stops.push({ vcpu, stop });
    this.#unasked(`the guest stopped by itself (${stop.cause})`, () => this.#serveStops());
  }

  /** Nothing of the guest's is dealt with any more, and nothing is under way when it resolves: the daemon ends. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue;
  }

  /** Does what follows from something that no command asked for. */
  #unasked(what: string, operation: () => Promise<void>): void {
    if (this.#closed) return;
    void this.#serial(operation).catch((error: Error) => {
      this.#options.log.fatal({ err: error }, `${what} and that could not be handled: ${error.message}`);
      this.#options.exit(1);
    });
  }

  async #serveStops(): Promise<void> {
    while (this.#status !== 'finish-migrate' && !this.#dump && !this.#closed) {
      const next = this.#stops.shift();
      if (!next) return;
      if (!OVER.has(this.#status)) await this.#serveStop(next.vcpu, next.stop);
    }
  }

  async #serveStop(vcpu: number, stop: GuestStop): Promise<void> {
    const { log, emit, exit } = this.#options;
    switch (stop.cause) {
      case 'reset':
        log.info({ vcpu, by: stop.by }, 'the guest asked for a reset');
        await this.#reboot(GUEST_RESET);
        return;
      case 'shutdown':
        log.info({ vcpu, by: stop.by }, 'the guest asked for a shutdown');
        await this.#shutdown({ guest: true, reason: 'guest-shutdown' });
        return;
      case 'internal-error':
        log.error({ vcpu, details: stop.details }, `internal-error: ${stop.details}`);
        await this.#pause('internal-error');
        return;
      case 'sleep':
        log.info({ vcpu, state: stop.state }, 'the guest sent itself to sleep');
        await this.#sleep(stop.state);
        return;
      case 'panicked':
        log.info({ vcpu }, 'the guest reported a panic');
        await this.#panicked();
        return;
      case 'crash-loaded':
        log.info({ vcpu }, 'the guest reported that it panicked and writes a crash dump');
        emit('GUEST_CRASHLOADED', { action: 'run' });
        await this.#goOn();
        return;
      case 'debug-exit':
        log.info({ vcpu, code: stop.code }, 'the guest ended the daemon by its debug-exit port');
        exit(stop.code & 0xff);
        return;
    }
  }

  /**
   * Pauses the guest for the last part of a migration.
   * @returns whether it ran, and so the state the destination shall give it; and a reset it asked for in that moment
   * @throws Error where the guest stopped in a way that cannot be migrated
   */
  pauseForMigration(): Promise<{ runState: RunState; pendingReset: boolean }> {
    return this.#serial(async () => {
      // As in QEMU, a guest that sleeps is woken to be migrated.
      const woken = this.#status === 'suspended';
      if (woken) {
        await this.#machine.wake();
        this.#status = 'running';
      }
      const runState = this.#status;
      this.#beforeMigration = runState;
      this.#stopWanted = false;
      if (this.running) await this.#pause('finish-migrate');
      else this.#status = 'finish-migrate';
      if (woken) this.#options.emit('WAKEUP');
      const final = this.#stops.find(({ stop }) => stop.cause !== 'reset');
      if (final) throw new Error(`the guest stopped by itself (${final.stop.cause})`);
      return { runState, pendingReset: this.#stops.length > 0 };
    });
  }

  /** The destination runs the guest now. */
  migrated(): Promise<void> {
    return this.#serial(async () => {
      this.#stops = [];
      this.#status = 'postmigrate';
    });
  }

  /** The migration ended without the destination having the guest: back to what it was before. */
  migrationFailed(): Promise<void> {
    return this.#serial(async () => {
      if (this.#status !== 'finish-migrate') return;
      if (this.#beforeMigration !== 'running') this.#status = this.#beforeMigration;
      else if (this.#stopWanted) this.#status = 'paused';
      else await this.#run('running');
      await this.#serveStops();
    });
  }

  /** The guest stands still until `dumped`, and no user changes that. */
  pauseForDump(): Promise<void> {
    return this.#serial(async () => {
      this.#dump = { ran: this.running };
      if (this.running) await this.#pause('save-vm');
    });
  }

  /** The guest goes on, if it did before, and what it did to itself in the moment it was paused takes effect. */
  dumped(): Promise<void> {
    return this.#serial(async () => {
      const ran = this.#dump?.ran;
      this.#dump = undefined;
      if (ran) await this.#run('running');
      await this.#serveStops();
    });
  }

  #refuseWhileDumping(): void {
    if (this.#dump) throw new QmpError('GenericError', DUMP_IN_PROGRESS);
  }

  /** Nobody knows whether the destination runs the guest: it stays paused here until a user says `cont`. */
  migrationOutcomeUnknown(): Promise<void> {
    return this.#serial(async () => {
      this.#status = 'paused'; // what the guest did to itself waits for that `cont` too
    });
  }

  /** A migration has arrived whole and is this side's now. */
  arrived(runState: MigratedRunState, pendingReset: boolean): Promise<void> {
    return this.#serial(async () => {
      this.#everRan = runState !== 'prelaunch';
      if (runState === 'running' && this.#autostart) {
        await this.#run('running');
      } else {
        this.#status = runState === 'running' ? 'paused' : runState;
      }
      if (pendingReset) this.#stops.push({ vcpu: 0, stop: { cause: 'reset', by: 'the guest, as it was migrated' } });
      await this.#serveStops();
    });
  }

  /** The guest's watchdog expired. */
  watchdogExpired(): void {
    this.#unasked('the watchdog expired', async () => {
      const action = this.#actions.watchdog;
      this.#options.emit('WATCHDOG', { action });
      switch (action) {
        case 'reset':
          return this.#reboot(GUEST_RESET);
        case 'shutdown':
          return this.#powerdown();
        case 'poweroff':
          return this.#options.exit(0);
        case 'pause':
          return this.running ? this.#pause('watchdog') : undefined;
        case 'debug':
          return this.#options.say('watchdog: timer fired');
        case 'inject-nmi':
          return this.#machine.injectNmi();
        case 'none':
          return;
      }
    });
  }

  async #sleep(state: SleepingState): Promise<void> {
    const { emit } = this.#options;
    if (state === 'S3') {
      if (!this.running) return;
      await this.#machine.park();
      this.#status = 'suspended';
      emit('SUSPEND');
    } else {
      if (state === 'S4') emit('SUSPEND_DISK');
      await this.#shutdown({ guest: true, reason: 'guest-shutdown' });
    }
  }

  /** QEMU's softmmu/runstate.c, qemu_system_guest_panicked. */
  async #panicked(): Promise<void> {
    const { panic, shutdown } = this.#actions;
    const { emit } = this.#options;
    if (panic === 'none') {
      emit('GUEST_PANICKED', { action: 'run' });
      await this.#goOn();
    } else if (panic === 'pause' || (panic === 'shutdown' && shutdown === 'pause')) {
      emit('GUEST_PANICKED', { action: 'pause' });
      if (this.running) await this.#pause('guest-panicked');
    } else {
      emit('GUEST_PANICKED', { action: 'poweroff' });
      await this.#shutdown({ guest: true, reason: 'guest-panic' });
    }
  }

  /** The vCPU that stopped by itself runs again, if the others do. */
  async #goOn(): Promise<void> {
    if (this.running) await this.#machine.run(false);
  }

  async #run(status: RunState): Promise<void> {
    this.#status = status;
    this.#options.emit('RESUME');
    await this.#machine.run(this.#everRan);
    this.#everRan = true;
  }

  async #pause(status: RunState): Promise<void> {
    const wasRunning = this.running;
    await this.#machine.park();
    this.#status = status;
    if (wasRunning) this.#options.emit('STOP');
  }

  /** A reset, or the shutdown that takes its place. */
  async #reboot(cause: Shutdown): Promise<void> {
    if (this.#actions.reboot === 'shutdown') await this.#shutdown(cause);
    else await this.#reset(cause);
  }

  async #shutdown(cause: Shutdown): Promise<void> {
    if (this.#actions.shutdown === 'pause') {
      this.#options.emit('SHUTDOWN', cause);
      if (this.running) await this.#pause('shutdown');
    } else {
      this.announceShutdown(cause);
      this.#options.exit(cause.reason === 'guest-panic' && this.#actions.panic === 'exit-failure' ? 1 : 0);
    }
  }

  async #reset(cause: EventData<'RESET'>): Promise<void> {
    const wasRunning = this.running;
    if (wasRunning) await this.#machine.park();
    this.#stops = []; // all vCPUs are parked and have reported what they met: it is undone
    this.#options.emit('RESET', cause);
    if (this.#status === 'inmigrate') return;
    try {
      await this.#resetMachine();
    } catch (error) {
      this.#options.log.error({ err: error }, `the kernel could not be loaded again: ${(error as Error).message}`);
      this.#status = 'internal-error';
      if (wasRunning) this.#options.emit('STOP');
      return;
    }
    if (wasRunning) await this.#machine.run(false);
    else this.#status = 'prelaunch';
  }

  async #resetMachine(): Promise<void> {
    await this.#machine.reset(this.#options.loadKernel?.());
    this.#everRan = false;
  }

  #serial<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(operation);
    this.#queue = result.catch(() => undefined); // whoever asked for it learns of the failure; the next one is not held up
    return result;
  }
}
