/** All that QMP says and asks about migration: settings that persist, the one migration that may run, and the last one's figures. */
import { genericError, invalidParameter } from '../../protocol/qmp_errors.js';
import type {
  CommandArguments,
  MigrationCapabilityStatus,
  MigrationInfo,
  MigrationParameters,
  MigrationStatus,
} from '../../schemas/generated/qmp.js';
import type { Emit, Lifecycle } from '../lifecycle/lifecycle.js';
import type { DaemonLog } from '../log.js';
import type { Machine } from '../machine/machine.js';
import { DEFAULT_BUFFER_BYTES, MIN_BUFFER_BYTES } from './budget.js';
import { Capabilities } from './capabilities.js';
import { Incoming } from './incoming.js';
import { incomingInfo, outgoingInfo } from './info.js';
import { listenForMigration } from './listen.js';
import { type ConsoleHold, Outgoing } from './outgoing.js';
import { changeParameters, DEFAULT_PARAMETERS, type ParameterChanges, type ParameterValues } from './parameters.js';
import { DEFAULT_MPLM_SETTINGS, type MplmSettings, mplmSettings } from './policy/index.js';
import { incomingTransport, outgoingTransport, type TakeFd, type Transport } from './transport.js';
import { parseMigrationUri } from './uri.js';

export interface MigrationsOptions {
  /** Undefined where there is no guest: `-machine none`. */
  guest: { machine: Machine; console: ConsoleHold } | undefined;
  lifecycle: Lifecycle;
  log: DaemonLog;
  emit: Emit;
  /** Why no migration may begin now, one reason each. */
  blockedReasons: () => string[];
  /** The machine's; undefined where none was given. */
  uuid: string | undefined;
  /** Resolves when nothing else uses the log of dirty pages. */
  releaseDirtyLog: () => Promise<void>;
  /** `-incoming` was given: the daemon waits for a guest. */
  incoming: boolean;
  /** An outgoing migration failed; the guest goes on here. */
  onOutgoingFailed: (cause: string) => void;
  /** The incoming migration failed: the daemon cannot have a guest any more. */
  onIncomingFailed: (cause: string) => void;
}

export class Migrations {
  readonly #options: MigrationsOptions;
  #settings: MplmSettings = DEFAULT_MPLM_SETTINGS;
  #parameters = DEFAULT_PARAMETERS;
  readonly #capabilities = new Capabilities();
  #checkpointing = false;
  #rateLimitLifted = false;
  #outgoing: Outgoing | undefined;
  /** The last migration did not get as far as having an address. */
  #failedStart: MigrationInfo | undefined;
  #incoming: Incoming | undefined;
  /** Set while an incoming address is being resolved and bound. */
  #incomingStarting = false;
  /** The daemon ends; nobody is told how what runs goes out. */
  #abandoned = false;

  constructor(options: MigrationsOptions) {
    this.#options = options;
  }

  /**
   * QMP `migrate`: returns once the migration has begun.
   * @throws QmpError in QEMU's words where it cannot begin
   */
  migrate(args: CommandArguments<'migrate'>, takeFd: TakeFd): void {
    const { lifecycle } = this.#options;
    const bound = args['max-buffer-bytes'];
    if (bound !== undefined && (bound < BigInt(MIN_BUFFER_BYTES) || bound > BigInt(Number.MAX_SAFE_INTEGER))) {
      throw invalidParameter('max-buffer-bytes', `a value of at least ${MIN_BUFFER_BYTES} bytes`);
    }
    if (args.resume) throw genericError('Cannot resume if there is no paused migration');
    if (this.#outgoing?.active) throw genericError("There's a migration process in progress");
    if (lifecycle.status === 'inmigrate') throw genericError('Guest is waiting for an incoming migration');
    if (lifecycle.status === 'postmigrate') {
      throw genericError("Can't migrate the vm that was paused due to previous migration");
    }
    const [blocked] = this.#options.blockedReasons();
    if (blocked !== undefined) throw genericError(blocked);
    if (lifecycle.status === 'internal-error') {
      throw genericError('The guest stopped with an internal error and cannot be migrated');
    }
    const { machine, console } = this.#guest;
    this.#status('setup');
    const answers = this.#capabilities.has('return-path');
    const { answered, open } = this.#open(args.uri, takeFd, answers);
    this.#failedStart = undefined;
    const openAlone = () => this.#options.releaseDirtyLog().then(open);
    this.#outgoing = new Outgoing(openAlone, {
      machine,
      lifecycle,
      console,
      log: this.#options.log,
      mplm: this.#settings,
      maxBufferBytes: bound === undefined ? DEFAULT_BUFFER_BYTES : Number(bound),
      answers: answered,
      autoConverge: this.#capabilities.has('auto-converge'),
      pauseBeforeSwitchover: this.#capabilities.has('pause-before-switchover'),
      uuid: this.#capabilities.has('validate-uuid') ? this.#options.uuid : undefined,
      checkpoint: this.#checkpointing,
      parameters: this.#effectiveParameters,
      onStatus: (status) => this.#outgoingStatus(status),
      onPass: (pass) => {
        if (this.#capabilities.has('events')) this.#options.emit('MIGRATION_PASS', { pass });
      },
    });
  }

  /**
   * What a URI names. Over an address answers always come back; over an fd or a command only where `answers`.
   * @throws QmpError; the migration has then failed, as in QEMU
   */
  #open(uri: string, takeFd: TakeFd, answers: boolean): { answered: boolean; open: () => Promise<Transport> } {
    const unknown = invalidParameter('uri', 'a valid migration protocol');
    try {
      const address = parseMigrationUri(uri, () => unknown);
      const answered = answers || (address.kind !== 'fd' && address.kind !== 'exec');
      // A destination that answers runs the guest: it would then run twice.
      if (answered && this.#checkpointing) {
        throw genericError(
          'A checkpoint goes into exec: or fd:, without return-path: over this URI the guest would run twice',
        );
      }
      return { answered, open: outgoingTransport(address, { takeFd, answers: answered }) };
    } catch (error) {
      this.#status('failed');
      // Of a protocol that it does not know, QEMU remembers that it failed, and no cause.
      const cause = error === unknown ? {} : { 'error-desc': (error as Error).message };
      this.#failedStart = { status: 'failed', ...cause };
      throw error;
    }
  }

  /** QMP `migrate_cancel`: no error where nothing runs. */
  cancel(): void {
    this.#outgoing?.cancel();
  }

  /**
   * QMP `migrate-continue`: lets a migration go on that waits before its switchover; in another state it changes nothing.
   * @throws QmpError when it is not in `state`
   */
  continue(state: MigrationStatus): void {
    const status = this.#failedStart?.status ?? this.#outgoing?.status ?? 'none';
    if (state !== status) throw genericError(`Migration not in expected state: ${status}`);
    this.#outgoing?.continue();
  }

  /** Whether a migration to elsewhere runs. */
  get active(): boolean {
    return this.#outgoing?.active === true;
  }

  /** Whether a migration has a channel that `yank` could cut. */
  get yankable(): boolean {
    return this.#outgoing?.active === true || this.#incoming?.active === true;
  }

  /** QMP `yank`: the channel is cut, and the migration fails of that. */
  yank(): void {
    this.#outgoing?.yank();
    this.#incoming?.yank();
  }

  /**
   * QMP `migrate-incoming`, and `-incoming URI`: returns once it listens.
   * @throws QmpError in QEMU's words
   */
  async receive(uri: string, takeFd?: TakeFd): Promise<void> {
    const { lifecycle, log, uuid } = this.#options;
    if (!this.#options.incoming) throw genericError("'-incoming' was not specified on the command line");
    if (this.#incoming || this.#incomingStarting) throw genericError('The incoming migration has already been started');
    const { machine } = this.#guest;
    this.#options.emit('MIGRATION', { status: 'setup' });
    const address = parseMigrationUri(uri, () => genericError(`unknown migration protocol: ${uri}`));
    this.#incomingStarting = true;
    try {
      const from =
        address.kind === 'fd' || address.kind === 'exec'
          ? incomingTransport(address, takeFd)
          : await listenForMigration(address);
      this.#incoming = new Incoming(from, {
        machine,
        lifecycle,
        log,
        maxBufferBytes: DEFAULT_BUFFER_BYTES,
        uuid,
        onStatus: (status) => this.#incomingStatus(status),
      });
    } finally {
      this.#incomingStarting = false;
    }
  }

  /** QMP `query-migrate`. */
  info(): MigrationInfo {
    const reasons = this.#options.blockedReasons();
    return { ...this.#info(), ...(reasons.length === 0 ? {} : { 'blocked-reasons': reasons }) };
  }

  #info(): MigrationInfo {
    if (this.#failedStart) return this.#failedStart;
    if (this.#outgoing) return outgoingInfo(this.#outgoing, this.#guest.machine.ram.ramBytes);
    if (this.#incoming) return incomingInfo(this.#incoming);
    return {};
  }

  get parameters(): MigrationParameters {
    return this.#parameters;
  }

  /** QMP `migrate-set-parameters`: of this migration too, where one runs. */
  setParameters(changes: ParameterChanges): void {
    this.#parameters = changeParameters(this.#parameters, changes);
    if (this.#outgoing?.active) this.#outgoing.setParameters(this.#effectiveParameters);
  }

  /** QMP `live-checkpointing-enable` and `-disable`: of later migrations. */
  setCheckpointing(on: boolean): void {
    this.#checkpointing = on;
  }

  /** QMP `enable-max-migration-rate-limit` and `disable-…`: `max-bandwidth` is lifted, or holds again, for a running migration too. */
  liftRateLimit(lifted: boolean): void {
    this.#rateLimitLifted = lifted;
    if (this.#outgoing?.active) this.#outgoing.setParameters(this.#effectiveParameters);
  }

  get #effectiveParameters(): ParameterValues {
    return this.#rateLimitLifted ? { ...this.#parameters, 'max-bandwidth': 0n } : this.#parameters;
  }

  get capabilities(): MigrationCapabilityStatus[] {
    return this.#capabilities.list();
  }

  /** QMP `migrate-set-capabilities`. @throws QmpError while a migration runs */
  setCapabilities(changes: readonly MigrationCapabilityStatus[]): void {
    if (this.#outgoing?.active) throw genericError("There's a migration process in progress");
    this.#capabilities.set(changes);
  }

  /** QMP `set-mplm-migration`: of later migrations; a running one keeps its own. */
  setMplm(changes: Partial<MplmSettings>): void {
    this.#settings = mplmSettings(changes, this.#settings);
  }

  /** QMP `set-mplm-extend-live`. @throws QmpError where there is no live stage to extend */
  extendLive(): void {
    this.#liveMplm('extended').extend(true);
  }

  /** QMP `set-mplm-end-live`. @throws QmpError where the live stage was not extended */
  endLive(): void {
    const migration = this.#liveMplm('ended');
    if (!migration.extended) throw genericError('The live stage of this migration was not extended');
    migration.extend(false);
  }

  get #guest(): NonNullable<MigrationsOptions['guest']> {
    const { guest } = this.#options;
    if (!guest) throw genericError("There is nothing to migrate: a machine of type 'none' has no guest");
    return guest;
  }

  #liveMplm(what: string): Outgoing {
    const migration = this.#outgoing;
    if (!migration?.active || (migration.status !== 'setup' && migration.status !== 'active')) {
      throw genericError(`No migration is running whose live stage could be ${what}`);
    }
    if (!migration.mplm.enable) {
      throw genericError(
        'The running migration is classic pre-copy: only an MPLM migration has a live stage to extend',
      );
    }
    if (this.#options.lifecycle.status === 'finish-migrate') {
      throw genericError('The live stage of this migration is over');
    }
    return migration;
  }

  /** The daemon is about to end: cancels what runs, and tells nothing more of it, as QEMU does. */
  abandon(): void {
    this.#outgoing?.cancel();
    this.#abandoned = true;
  }

  /** Abandons what runs and waits until nothing is left of it. */
  async close(): Promise<void> {
    this.abandon();
    await Promise.all([this.#outgoing?.ended, this.#incoming?.abandon()]);
  }

  #outgoingStatus(status: MigrationStatus): void {
    this.#status(status);
    if (status === 'failed') this.#options.onOutgoingFailed(this.#outgoing?.errorDesc ?? 'Migration failed');
  }

  #incomingStatus(status: MigrationStatus): void {
    this.#status(status);
    if (status === 'failed') this.#options.onIncomingFailed(this.#incoming?.errorDesc ?? 'Migration failed');
  }

  #status(status: MigrationStatus): void {
    if (this.#capabilities.has('events') && !this.#abandoned) this.#options.emit('MIGRATION', { status });
  }
}
