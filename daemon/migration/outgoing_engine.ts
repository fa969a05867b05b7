/**
 * The source's side of one migration, on a thread of its own that may block in the socket: handshake, live epochs, stop-and-copy,
 * commit. The policy says what to send; main pauses the guest and hands over its state when asked.
 */
import { strerror } from '../../kvm/errors.js';
import { GuestRam, PAGE_SIZE } from '../../kvm/guest_ram.js';
import { finishConnect, POLLOUT, setBlocking, setNoDelay, waitFor } from '../../kvm/sockets.js';
import { Vm } from '../../kvm/vm.js';
import { type FrameName, MAX_FRAME_PAGES, MAX_RANGES, STREAM_VERSION } from '../../protocol/migration_stream.js';
import { isMigratedRunState } from '../lifecycle/migrated_run_states.js';
import type { SavedSection } from '../machine/machine.js';
import { STATE_VERSION } from '../machine/state_version.js';
import { Budget } from './budget.js';
import { ChannelError } from './byte_link.js';
import { DirtyTracker } from './dirty_tracker.js';
import { CancelledError, MIGRATION_STAGES, MigrationError, type MigrationStage } from './errors.js';
import { FrameChannel } from './frame_channel.js';
import { LinkMeter } from './link_meter.js';
import type { Mailbox } from './mailbox.js';
import type { Digest, DowntimeBreakdown, OutgoingData, OutgoingMessage, ToOutgoing } from './messages.js';
import { openLink } from './open_link.js';
import { OutgoingFigures } from './outgoing_figures.js';
import {
  AutoConverge,
  createPolicy,
  type MigrationPolicy,
  type PageBitmap,
  PageRanges,
  PrecopyPolicy,
} from './policy/index.js';
import { CONTROL, FIGURE, nowMs, PARAMETER, VERDICT } from './progress.js';
import { RamSender } from './ram_sender.js';
import { Throttle } from './throttle.js';
import type { LinkData } from './transport.js';

/** How long the destination may take to accept. */
const HANDSHAKE_TIMEOUT_MS = 30_000;
/** While the guest stands still, a destination that shows no sign of life for this long has failed. */
export const STALL_LIMIT_MS = 5_000;
/** Two syncs of the dirty log are at least this far apart. */
const MIN_SYNC_INTERVAL_MS = 10;
/** How long a destination may load in all, however often it says that it is alive. */
const LOAD_LIMIT_MS = 60_000;
/** Slices of a wait, between which the thread looks whether it was cancelled or the peer is gone. */
const SLICE_MS = 50;

type Completed = Extract<OutgoingMessage, { type: 'completed' }>;

export class OutgoingEngine {
  stage: MigrationStage = 'connect';
  /** COMMIT was sent, and nobody has said what became of it. */
  outcomeUnknown = false;
  readonly #data: OutgoingData;
  readonly #mailbox: Mailbox<ToOutgoing>;
  readonly #post: (message: OutgoingMessage) => void;
  readonly #ram: GuestRam;
  readonly #budget: Budget;
  readonly #policy: MigrationPolicy;
  readonly #ranges = new PageRanges(MAX_RANGES);
  readonly #figures: OutgoingFigures;
  readonly #autoConverge = new AutoConverge(nowMs());
  #passes = 0;

  constructor(data: OutgoingData, mailbox: Mailbox<ToOutgoing>, post: (message: OutgoingMessage) => void) {
    this.#data = data;
    this.#mailbox = mailbox;
    this.#post = post;
    this.#ram = GuestRam.attach(data.ram);
    this.#budget = new Budget(data.maxBufferBytes, data.progress.budget);
    const guest = { pages: this.#ram.pages, pageSize: PAGE_SIZE };
    this.#policy = createPolicy(guest, data.mplm, this.#parameter(PARAMETER.DOWNTIME_LIMIT_MS));
    this.#figures = new OutgoingFigures(data.progress.figures, this.#policy);
  }

  /** Runs the whole migration. @throws MigrationError, CancelledError, and what the kernel refuses */
  run(): void {
    // Told once everything is given back, so that who hears of it finds nothing left.
    this.#post(this.#migrate());
  }

  #migrate(): Completed {
    const startMs = nowMs();
    const { link } = this.#data;
    if (link.kind === 'socket') this.#connected(link);
    this.#pass();
    this.#post({ type: 'active', setupMs: nowMs() - startMs });
    const checkInterrupted = () => this.#checkInterrupted();
    using channel = new FrameChannel(openLink(link, checkInterrupted, STALL_LIMIT_MS), this.#budget, 'send');
    using _ranges = this.#budget.draw('table of ranges', PageRanges.bytesFor(MAX_RANGES));
    try {
      return this.#converse(channel);
    } catch (error) {
      throw this.#preferRefusal(channel, error);
    }
  }

  #connected({ fd, tcp, connecting }: Extract<LinkData, { kind: 'socket' }>): void {
    if (connecting) {
      while (!waitFor(fd, POLLOUT, SLICE_MS)) this.#checkCancelled();
      const refused = finishConnect(fd);
      if (refused !== 0) throw new MigrationError('connect', strerror(refused));
      this.#checkCancelled();
    }
    setBlocking(fd);
    if (tcp) setNoDelay(fd);
  }

  #converse(channel: FrameChannel): Completed {
    this.#enter('handshake');
    const { machine, maxBufferBytes, oneWay, uuid } = this.#data;
    channel.sendJson('HELLO', {
      version: STREAM_VERSION,
      machine,
      maxBufferBytes,
      oneWay,
      ...(uuid === undefined ? {} : { uuid }),
    });
    this.#await(channel, 'ACCEPT', HANDSHAKE_TIMEOUT_MS, 'accept');
    using tracker = new DirtyTracker(Vm.attach(this.#data.vmFd), this.#ram, this.#data.dirtyLogInitiallySet);
    const sender = new RamSender(this.#ram, channel);
    this.#enter('live');
    this.#live(channel, tracker, sender);
    return this.#stopAndCopy(channel, tracker, sender);
  }

  #live(channel: FrameChannel, tracker: DirtyTracker, sender: RamSender): void {
    const policy = this.#policy;
    const throttle = new Throttle(nowMs());
    const link = new LinkMeter(nowMs());
    let lastSyncMs = Number.NEGATIVE_INFINITY;
    for (;;) {
      this.#checkCancelled();
      this.#checkPeer(channel);
      this.#applyControls();
      const bandwidth = this.#parameter(PARAMETER.MAX_BANDWIDTH);
      const batchPages = Math.floor(throttle.batchBytes(bandwidth) / PAGE_SIZE);
      const step = policy.next(nowMs(), this.#ranges, Math.max(1, Math.min(MAX_FRAME_PAGES, batchPages)));
      switch (step.kind) {
        case 'send': {
          tracker.clear(this.#ranges);
          const before = channel.sentBytes;
          sender.send(this.#ranges);
          const bytes = channel.sentBytes - before;
          this.#figures.show(channel, sender);
          this.#pauseFor(throttle.sent(bytes, nowMs(), bandwidth), channel);
          break;
        }
        case 'sync': {
          // Passes over a handful of pages would follow each other faster than anyone could be told of them.
          this.#pauseFor(lastSyncMs + MIN_SYNC_INTERVAL_MS - nowMs(), channel);
          const now = nowMs();
          lastSyncMs = now;
          const figures = link.measure(now, channel.sentBytes, policy.pagesSentTotal);
          const result = policy.synced(now, tracker.sync(), figures);
          this.#figures.set(
            FIGURE.DIRTY_RATE,
            figures.elapsedMs > 0 ? (result.newDirtyPages * 1000) / figures.elapsedMs : 0,
          );
          if (figures.bytesPerSecond > 0) {
            const remaining = policy.remainingPages * PAGE_SIZE;
            this.#figures.set(FIGURE.EXPECTED_DOWNTIME_MS, (remaining / figures.bytesPerSecond) * 1000);
          }
          this.#throttleGuest(channel, result.newDirtyPages);
          channel.sendJson('SYNC', { epoch: policy.epoch });
          this.#figures.show(channel, sender);
          this.#pass();
          this.#post({ type: 'epochs', records: [...policy.records] });
          break;
        }
        case 'wait':
          this.#pauseFor(step.untilMs - nowMs(), channel);
          break;
        case 'switchover':
          // What is still under way is taken in while the guest runs, not while it stands still.
          if (this.#data.oneWay) this.#drain(channel);
          else {
            channel.sendJson('FLUSH', {});
            this.#await(channel, 'FLUSHED', Number.POSITIVE_INFINITY, 'take in what was sent');
          }
          this.#figures.set(FIGURE.PRECOPY_BYTES, channel.sentBytes);
          return;
        case 'done':
          throw new Error('the policy ended before the final sync');
      }
    }
  }

  /** Auto-converge: classic pre-copy may need the guest to be slower than the channel; MPLM ends without. */
  #throttleGuest(channel: FrameChannel, newDirtyPages: number): void {
    const converge = this.#autoConverge;
    if (!this.#data.autoConverge || this.#policy.kind !== 'precopy') return;
    const before = converge.percent;
    converge.synced(nowMs(), channel.sentBytes, newDirtyPages * PAGE_SIZE, {
      triggerThreshold: this.#parameter(PARAMETER.THROTTLE_TRIGGER_THRESHOLD),
      initial: this.#parameter(PARAMETER.CPU_THROTTLE_INITIAL),
      increment: this.#parameter(PARAMETER.CPU_THROTTLE_INCREMENT),
      max: this.#parameter(PARAMETER.MAX_CPU_THROTTLE),
      tailslow: this.#parameter(PARAMETER.CPU_THROTTLE_TAILSLOW) === 1,
    });
    if (converge.percent !== before) this.#post({ type: 'throttle', percent: converge.percent });
  }

  #stopAndCopy(channel: FrameChannel, tracker: DirtyTracker, sender: RamSender): Completed {
    this.#enter('stop-and-copy');
    const breakdown: DowntimeBreakdown = {};
    const beginMs = nowMs();
    let lapMs = beginMs;
    const lap = (name: string) => {
      const now = nowMs();
      breakdown[name] = now - lapMs;
      lapMs = now;
    };
    this.#post({ type: 'pause' });
    this.#message('paused', channel);
    lap('pause');
    if (this.#data.pauseBeforeSwitchover) {
      this.#message('continue', channel);
      lap('pre-switchover');
    }
    this.#post({ type: 'device' });
    // Of a one-way channel the reader may be a disk, which stalls without having failed; a cancel ends that.
    if (!this.#data.oneWay) channel.limitStall(STALL_LIMIT_MS);
    const liveBytes = channel.sentBytes;
    const log: PageBitmap = tracker.sync();
    this.#policy.finalSync(nowMs(), log);
    this.#pass();
    lap('last-sync');
    while (this.#policy.next(nowMs(), this.#ranges, MAX_FRAME_PAGES).kind === 'send') {
      this.#checkCancelled();
      sender.send(this.#ranges);
      this.#figures.show(channel, sender);
    }
    lap('pages');
    const state = this.#message('state', channel);
    const stateBytes = state.sections.reduce((sum, { json }) => sum + json.length, 0);
    using _state = this.#budget.draw('the machine state', stateBytes);
    for (const section of state.sections) sendSection(channel, section);
    const sections = state.sections.length;
    const digest: Digest = {
      normalPages: sender.normalPages,
      zeroPages: sender.zeroPages,
      sections,
      runState: isMigratedRunState(state.runState) ? state.runState : 'paused',
      pendingReset: state.pendingReset,
    };
    channel.sendJson('DIGEST', digest);
    lap('state');
    this.#enter('load');
    if (this.#data.oneWay) this.#drain(channel);
    this.#await(channel, 'READY', STALL_LIMIT_MS, 'load the machine');
    lap('load');
    const { control } = this.#data.progress;
    if (Atomics.compareExchange(control, CONTROL.VERDICT, VERDICT.OPEN, VERDICT.COMMITTED) !== VERDICT.OPEN) {
      throw new CancelledError();
    }
    this.#enter('commit');
    // Two-way: of a COMMIT that fails to be sent, a part may have arrived. A reader that is gone did not get this one.
    this.outcomeUnknown = !this.#data.oneWay;
    channel.sendJson('COMMIT', {});
    if (this.#data.oneWay) this.#finish(channel);
    this.#await(channel, 'RUNNING', STALL_LIMIT_MS, 'resume');
    lap('resume');
    this.#figures.set(FIGURE.DOWNTIME_BYTES, channel.sentBytes - liveBytes);
    this.#figures.showWhole(channel, sender);
    this.#post({ type: 'epochs', records: [...this.#policy.records] });
    const endedMs = nowMs();
    return { type: 'completed', downtimeMs: endedMs - beginMs, breakdown, endedMs };
  }

  /** Waits for main's answer, looking at the peer and at a cancel meanwhile. */
  #message<T extends ToOutgoing['type']>(type: T, channel: FrameChannel): Extract<ToOutgoing, { type: T }> {
    for (;;) {
      const message = this.#mailbox.wait(SLICE_MS);
      if (message?.type === type) return message as Extract<ToOutgoing, { type: T }>;
      if (message?.type === 'failed') {
        this.outcomeUnknown = false;
        throw new MigrationError(this.stage, message.cause);
      }
      if (message !== undefined) throw new Error(`main answered '${message.type}' where '${type}' was due`);
      this.#checkInterrupted();
      this.#checkPeer(channel);
    }
  }

  /** The end of a one-way channel: what its reader says at its own end is all there is to go by. */
  #finish(channel: FrameChannel): void {
    this.outcomeUnknown = true;
    this.#post({ type: 'finish' });
    this.#message('finished', channel);
    this.outcomeUnknown = false;
  }

  /** Waits until whoever reads a one-way channel has taken all of it. */
  #drain(channel: FrameChannel): void {
    while (!channel.drained(SLICE_MS)) this.#checkInterrupted();
  }

  /** Waits for one answer of the destination, where any come back; ALIVE frames prolong the wait. */
  #await(channel: FrameChannel, answer: FrameName, timeoutMs: number, what: string): void {
    if (this.#data.oneWay) return;
    const lastMs = nowMs() + Math.max(timeoutMs, LOAD_LIMIT_MS);
    let deadlineMs = nowMs() + timeoutMs;
    for (;;) {
      this.#checkInterrupted();
      const leftMs = deadlineMs - nowMs();
      if (leftMs <= 0) throw new MigrationError(this.stage, `the destination did not ${what} in time`);
      if (!channel.readable(Math.min(leftMs, SLICE_MS))) continue;
      if (this.#answer(channel, answer) === answer) return;
      deadlineMs = Math.min(nowMs() + timeoutMs, lastMs);
    }
  }

  /** In the live stage the destination says nothing but REFUSE, or goes away. */
  #checkPeer(channel: FrameChannel): void {
    if (!this.#data.oneWay && channel.readable(0)) this.#answer(channel);
  }

  /**
   * The destination's next frame: `answer`, or ALIVE while it loads; only then has it a reason to take longer.
   * @throws MigrationError for REFUSE and for any other
   */
  #answer(channel: FrameChannel, answer?: FrameName): FrameName {
    const header = channel.receiveHeader();
    const { type } = header;
    if (type !== answer && type !== 'REFUSE' && !(type === 'ALIVE' && this.stage === 'load')) {
      throw new MigrationError(this.stage, `the destination sent ${type}`);
    }
    const body = channel.receiveJson(header);
    if (type === 'REFUSE') throw this.#refused(body);
    return type;
  }

  #refused(body: Record<string, unknown>): MigrationError {
    const reason = typeof body.reason === 'string' ? body.reason.slice(0, 1000) : 'no reason given';
    return new MigrationError(this.stage, `the destination refused: ${reason}`);
  }

  /** A peer that refuses may close before all was sent: its REFUSE is then the better cause than the broken pipe. */
  #preferRefusal(channel: FrameChannel, error: unknown): unknown {
    if (!(error instanceof ChannelError)) return error;
    try {
      this.#checkPeer(channel);
    } catch (refusal) {
      if (refusal instanceof MigrationError) return refusal;
    }
    return error;
  }

  #pauseFor(ms: number, channel: FrameChannel): void {
    const untilMs = nowMs() + ms;
    for (let leftMs = ms; leftMs > 0; leftMs = untilMs - nowMs()) {
      const { control } = this.#data.progress;
      const seen = Atomics.load(control, CONTROL.WAKE);
      Atomics.wait(control, CONTROL.WAKE, seen, Math.min(leftMs, SLICE_MS));
      this.#checkCancelled();
      this.#checkPeer(channel);
      if (this.#applyControls()) return;
    }
  }

  /** Takes up what main changed. @returns true when the policy may decide differently now */
  #applyControls(): boolean {
    const wanted = Atomics.load(this.#data.progress.control, CONTROL.EXTEND) === 1;
    const policy = this.#policy;
    const limitMs = this.#parameter(PARAMETER.DOWNTIME_LIMIT_MS);
    if (policy instanceof PrecopyPolicy && policy.downtimeLimitMs !== limitMs) policy.setDowntimeLimitMs(limitMs);
    if (wanted === policy.extended) return false;
    const changed = wanted ? policy.extendLive() : policy.endLive();
    this.#figures.set(FIGURE.EXTENDED, policy.extended ? 1 : 0);
    return changed;
  }

  /** Looks whether main wants no more of it: for waits that nobody else ends. */
  #checkInterrupted(): void {
    this.#checkCancelled();
    if (Atomics.load(this.#data.progress.control, CONTROL.CUT) === 1)
      throw new ChannelError('the channel was cut by a user');
  }

  #checkCancelled(): void {
    if (Atomics.load(this.#data.progress.control, CONTROL.VERDICT) === VERDICT.CANCELLED) throw new CancelledError();
  }

  #parameter(index: number): number {
    return this.#data.progress.parameters[index] as number;
  }

  #enter(stage: MigrationStage): void {
    this.stage = stage;
    this.#figures.set(FIGURE.STAGE, MIGRATION_STAGES.indexOf(stage));
  }

  #pass(): void {
    this.#passes++;
    this.#figures.set(FIGURE.SYNCS, this.#passes);
    this.#post({ type: 'pass', pass: this.#passes });
  }
}

function sendSection(channel: FrameChannel, { name, json }: SavedSection): void {
  channel.sendJson('STATE', `{"section":"${name}","version":${STATE_VERSION},"data":${json}}`);
}
