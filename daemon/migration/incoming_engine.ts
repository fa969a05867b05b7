/**
 * The destination's side of one migration, on a thread of its own that may block in the socket. Everything that arrives is hostile until
 * checked; main loads the machine's state and runs it when told to.
 */
import { GuestRam } from '../../kvm/guest_ram.js';
import { jsonUint, LayoutError } from '../../kvm/layout.js';
import { acceptFrom, POLLIN, setBlocking, setNoDelay, waitFor } from '../../kvm/sockets.js';
import {
  checkHello,
  type FrameHeader,
  type FrameName,
  machineMismatch,
  nextReceiverState,
  type ReceiverState,
  STREAM_VERSION,
  StreamError,
} from '../../protocol/migration_stream.js';
import { isMigratedRunState } from '../lifecycle/migrated_run_states.js';
import type { ArrivedSection } from '../machine/machine.js';
import { STATE_VERSION } from '../machine/state_version.js';
import { Budget, MIN_BUFFER_BYTES } from './budget.js';
import { ChannelError } from './byte_link.js';
import { CancelledError, MigrationError, type MigrationStage } from './errors.js';
import { FrameChannel } from './frame_channel.js';
import type { Mailbox } from './mailbox.js';
import type { Digest, IncomingData, IncomingMessage, ToIncoming } from './messages.js';
import { openLink } from './open_link.js';
import { CONTROL, FIGURE, nowMs, VERDICT } from './progress.js';
import { RamReceiver } from './ram_receiver.js';
import type { LinkData } from './transport.js';

const SLICE_MS = 50;
/** Sections of machine state that are no vCPU's: the VM's and the devices'. */
const MAX_SECTIONS_BESIDE_VCPUS = 2;
/** How often the source is told that loading goes on. */
const ALIVE_MS = 250;
/** How long a source may take to read a refusal before the connection is closed. */
const LINGER_MS = 1000;

export class IncomingEngine {
  stage: MigrationStage = 'connect';
  readonly #data: IncomingData;
  readonly #mailbox: Mailbox<ToIncoming>;
  readonly #post: (message: IncomingMessage) => void;
  readonly #ram: GuestRam;
  #state: ReceiverState = 'hello';
  /** The source does not hear answers. */
  #oneWay = false;

  constructor(data: IncomingData, mailbox: Mailbox<ToIncoming>, post: (message: IncomingMessage) => void) {
    this.#data = data;
    this.#mailbox = mailbox;
    this.#post = post;
    this.#ram = GuestRam.attach(data.ram);
  }

  /** Receives one whole migration. @throws MigrationError, StreamError, ChannelError, CancelledError */
  run(): void {
    const link = this.#arrival();
    this.#post({ type: 'active' });
    this.stage = 'handshake';
    const budget = new Budget(this.#data.maxBufferBytes, this.#data.progress.budget);
    using channel = new FrameChannel(
      openLink(link, () => this.#checkEnded()),
      budget,
      'receive',
    );
    try {
      this.#converse(channel, budget);
    } catch (error) {
      if (!this.#oneWay) this.#refuse(channel, error as Error);
      throw error;
    }
  }

  /** Waits until a source is there. */
  #arrival(): LinkData {
    const { from, tcp } = this.#data;
    if (typeof from === 'number') {
      const fd = this.#accept(from);
      if (tcp) setNoDelay(fd);
      return { kind: 'socket', fd, tcp, connecting: false };
    }
    if (from.kind === 'socket') setBlocking(from.fd);
    else this.#oneWay = true; // until the source says that it hears
    const fd = from.kind === 'socket' ? from.fd : from.input;
    while (fd !== undefined && !waitFor(fd, POLLIN, SLICE_MS)) this.#checkEnded();
    return from;
  }

  #accept(listener: number): number {
    for (;;) {
      if (waitFor(listener, POLLIN, SLICE_MS)) {
        const fd = acceptFrom(listener);
        if (fd !== undefined) {
          this.#post({ type: 'connected', fd });
          return fd;
        }
      }
      this.#checkEnded();
    }
  }

  #converse(channel: FrameChannel, budget: Budget): void {
    const receiver = new RamReceiver(this.#ram, channel);
    const sections: ArrivedSection[] = [];
    const drawn: Disposable[] = [];
    try {
      for (;;) {
        const offset = channel.receivedBytes;
        const header = channel.receiveHeader();
        this.#state = nextReceiverState(this.#state, header.type, offset);
        switch (header.type) {
          case 'HELLO':
            this.#hello(channel, header, budget, offset);
            break;
          case 'RAM':
            receiver.receiveRam(header, offset);
            this.#show(receiver, channel);
            break;
          case 'ZERO':
            receiver.receiveZero(header, offset);
            break;
          case 'SYNC':
            jsonUint(channel.receiveJson(header).epoch, 'SYNC epoch', Number.MAX_SAFE_INTEGER);
            break;
          case 'FLUSH':
            channel.receiveJson(header);
            this.#tell(channel, 'FLUSHED', {});
            break;
          case 'STATE':
            this.stage = 'load';
            if (sections.length === MAX_SECTIONS_BESIDE_VCPUS + this.#data.machine.vcpus) {
              throw new StreamError('more sections of machine state than the machine has', offset);
            }
            drawn.push(budget.draw('a section of machine state', header.bodyBytes));
            sections.push(arrivedSection(channel.receiveJson(header)));
            break;
          case 'DIGEST': {
            const digest = arrivedDigest(channel.receiveJson(header));
            checkDigest(digest, receiver, sections.length);
            this.#load(channel, sections, digest);
            break;
          }
          case 'COMMIT':
            channel.receiveJson(header);
            this.#commit(channel);
            return;
          default:
            throw new StreamError(`${header.type} frame from a source`, offset);
        }
      }
    } finally {
      for (const draw of drawn) draw[Symbol.dispose]();
    }
  }

  #hello(channel: FrameChannel, header: FrameHeader, budget: Budget, offset: number): void {
    const hello = checkHello(channel.receiveJson(header), offset);
    this.#oneWay = hello.oneWay;
    const mismatch = machineMismatch(hello.machine, this.#data.machine);
    if (mismatch !== undefined) throw new MigrationError('handshake', mismatch);
    if (hello.maxBufferBytes < MIN_BUFFER_BYTES) {
      throw new MigrationError('handshake', `max-buffer-bytes ${hello.maxBufferBytes} is below ${MIN_BUFFER_BYTES}`);
    }
    const { uuid } = this.#data;
    if (hello.uuid !== undefined && uuid !== undefined && hello.uuid !== uuid) {
      throw new MigrationError('handshake', `UUID received is ${hello.uuid} and local is ${uuid}`);
    }
    // The source's bound holds for both sides: this side had drawn its buffers from its own, and takes the smaller one.
    channel.rebound(budget, Math.min(hello.maxBufferBytes, budget.bound));
    this.#tell(channel, 'ACCEPT', { version: STREAM_VERSION, maxBufferBytes: budget.bound });
    this.stage = 'live';
  }

  #load(channel: FrameChannel, sections: ArrivedSection[], digest: Digest): void {
    this.#post({ type: 'load', sections, digest });
    const answer = this.#answer(() => this.#tell(channel, 'ALIVE', {}));
    if (answer.type === 'refused') throw new MigrationError('load', answer.reason);
    if (answer.type !== 'loaded') throw new Error(`main answered '${answer.type}' where 'loaded' was due`);
    this.#tell(channel, 'READY', {});
    this.stage = 'commit';
  }

  /** From here on this side owns the guest: a source that cannot be told any more changes nothing. */
  #commit(channel: FrameChannel): void {
    this.#post({ type: 'commit' });
    this.#answer(() => undefined);
    try {
      this.#tell(channel, 'RUNNING', {});
    } catch (error) {
      this.#post({
        type: 'completed',
        warning: `the source was not told that the guest runs here: ${(error as Error).message}`,
      });
      return;
    }
    this.#post({ type: 'completed' });
  }

  /** Says something to a source that hears it. */
  #tell(channel: FrameChannel, type: FrameName, body: object): void {
    if (!this.#oneWay) channel.sendJson(type, body);
  }

  #answer(everySlice: () => void): ToIncoming {
    for (;;) {
      const message = this.#mailbox.wait(ALIVE_MS);
      if (message !== undefined) return message;
      everySlice();
    }
  }

  /** Tells the source why, and gives it a moment to read that before the connection goes. */
  #refuse(channel: FrameChannel, error: Error): void {
    try {
      const reason = error instanceof MigrationError ? error.reason : error.message;
      channel.sendJson('REFUSE', { reason: reason.slice(0, 1000) });
      channel.endSending();
      const deadlineMs = nowMs() + LINGER_MS;
      while (nowMs() < deadlineMs && channel.discard(SLICE_MS));
    } catch {
      // The source is gone: there is nobody to tell. The cause is reported on this side all the same.
    }
  }

  #checkEnded(): void {
    const { control } = this.#data.progress;
    if (Atomics.load(control, CONTROL.VERDICT) === VERDICT.CANCELLED) throw new CancelledError();
    if (Atomics.load(control, CONTROL.CUT) === 1) throw new ChannelError('the channel was cut by a user');
  }

  #show(receiver: RamReceiver, channel: FrameChannel): void {
    const { figures } = this.#data.progress;
    figures[FIGURE.BYTES] = channel.receivedBytes;
    figures[FIGURE.NORMAL_PAGES] = receiver.normalPages;
    figures[FIGURE.ZERO_PAGES] = receiver.zeroPages;
  }
}

/** A STATE body. @throws LayoutError */
function arrivedSection(body: Record<string, unknown>): ArrivedSection {
  const { section, version, data } = body;
  if (typeof section !== 'string' || !/^[a-z0-9-]{1,32}$/.test(section)) {
    throw new LayoutError('STATE section', 'the name of a section', section);
  }
  if (version !== STATE_VERSION) throw new LayoutError(`STATE ${section} version`, String(STATE_VERSION), version);
  if (typeof data !== 'object' || data === null) throw new LayoutError(`STATE ${section} data`, 'an object', data);
  return { name: section, data: data as Record<string, unknown> };
}

function arrivedDigest(body: Record<string, unknown>): Digest {
  const count = (member: string) => jsonUint(body[member], `DIGEST ${member}`, Number.MAX_SAFE_INTEGER);
  const { runState, pendingReset } = body;
  if (typeof pendingReset !== 'boolean') throw new LayoutError('DIGEST pendingReset', 'a boolean', pendingReset);
  if (!isMigratedRunState(runState)) {
    throw new LayoutError('DIGEST runState', 'a state that a guest can arrive in', runState);
  }
  return {
    normalPages: count('normalPages'),
    zeroPages: count('zeroPages'),
    sections: count('sections'),
    runState,
    pendingReset,
  };
}

function checkDigest(digest: Digest, receiver: RamReceiver, sections: number): void {
  const expect = (what: string, sent: number, got: number) => {
    if (sent !== got) throw new MigrationError('load', `the source sent ${sent} ${what}, and ${got} arrived`);
  };
  expect('pages', digest.normalPages, receiver.normalPages);
  expect('zero pages', digest.zeroPages, receiver.zeroPages);
  expect('sections of state', digest.sections, sections);
}
