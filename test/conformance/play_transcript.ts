import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { assembleFirmware } from './firmware.js';
import { GREETING } from './hints.js';
import { mask, withoutOwnMembers } from './mask.js';
import { Peer } from './peer.js';
import { DEFAULT_SERVER, ServerProcess } from './server_process.js';
import { commandOf, ofParty, partiesOf, type Step, type Transcript } from './transcript.js';

const CAPABILITIES = '{"execute":"qmp_capabilities"}\n';
/** What two writes are apart that the server must see as two. */
const APART_MS = 10;
/** How long nothing may come before what differs is looked at. */
const SETTLE_MS = 150;
/** How often a query is repeated whose answer is not yet as it should be. */
const RETRY_MS = 50;
/** An event that is limited to one a second has stopped coming when it did not for so long. */
const RATE_QUIET_MS = 1500;
/** How much later than after a second each of them may be reported. */
const RATE_TOLERANCE_MS = 100;
/** Queries of what goes on by itself: the record does not tell how long its maker waited before asking. */
const ASKED_AGAIN = /^(query-(migrate|status|dirty-rate|dump|jobs)|human-monitor-command)$/;

export interface PlayOptions {
  /** Program and first arguments of the server; vmhostd by default. */
  readonly server?: readonly string[];
  /** How long a step waits for what should come. */
  readonly patienceMs?: number;
}

/** What one step was to receive, and received; both masked. */
export interface StepOutcome {
  readonly step: Step;
  readonly expected: string;
  readonly actual: string;
}

export interface Outcome {
  readonly transcript: Transcript;
  readonly steps: readonly StepOutcome[];
  /** Differences that are not of one step: the end of the connection, the exit code. */
  readonly faults: readonly string[];
  /** What the servers said on standard error. */
  readonly stderr: string;
}

export function differs({ expected, actual }: StepOutcome): boolean {
  return expected !== actual;
}

/** Plays transcripts that share a server, one after the other, against a fresh one. */
export async function playTogether(transcripts: readonly Transcript[], options: PlayOptions = {}): Promise<Outcome[]> {
  const [first] = transcripts as [Transcript, ...Transcript[]];
  const stage = new Stage(options);
  const outcomes: Outcome[] = [];
  try {
    await stage.open(first);
    for (const transcript of transcripts) {
      outcomes.push(await stage.play(transcript, transcript === transcripts.at(-1)));
      if (transcript.session === undefined) stage.closeClients();
    }
  } catch (error) {
    const fault = (error as Error).message;
    for (const transcript of transcripts.slice(outcomes.length)) {
      outcomes.push({ transcript, steps: [], faults: [fault], stderr: stage.stderr });
    }
  } finally {
    await stage.close();
  }
  return outcomes;
}

/** The servers of a transcript and the connections to them. */
class Stage {
  readonly #options: PlayOptions;
  readonly #dir = mkdtempSync(join(tmpdir(), 'vmhostd-play-'));
  readonly #servers = new Map<string, ServerProcess>();
  readonly #peers = new Map<string, Peer>();
  readonly #patienceMs: number;
  #port = '';

  constructor(options: PlayOptions) {
    this.#options = options;
    this.#patienceMs = options.patienceMs ?? 3000;
  }

  get stderr(): string {
    return [...this.#servers.values()].map(({ stderr }) => stderr).join('');
  }

  async open(transcript: Transcript): Promise<void> {
    for (const [party, args] of partiesOf(transcript)) {
      const placed = args.map((arg) => this.#placed(arg));
      const bios = placed[placed.indexOf('-bios') + 1];
      if (transcript.boot_asm !== undefined && bios) assembleFirmware(transcript.boot_asm, bios);
      const monitor = transcript.mon_opts ?? '';
      const server = this.#options.server ?? DEFAULT_SERVER;
      this.#servers.set(party, await ServerProcess.start(server, { dir: this.#dir, party, args: placed, monitor }));
    }
  }

  async play(transcript: Transcript, last: boolean): Promise<Outcome> {
    const steps: StepOutcome[] = [];
    const faults: string[] = [];
    for (const step of transcript.steps) steps.push(await this.#step(transcript, step));
    if (last) await this.#end(transcript, faults);
    return { transcript, steps, faults, stderr: this.stderr };
  }

  closeClients(): void {
    for (const peer of this.#peers.values()) peer.destroy();
    this.#peers.clear();
  }

  async close(): Promise<void> {
    this.closeClients();
    for (const server of this.#servers.values()) await server.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** A text with this run's directory and port in it. */
  #placed(text: string): string {
    return text.replaceAll('@TMP@', this.#dir).replaceAll('@PORT@', this.#port);
  }

  /** A received text as it is compared. */
  #seen(text: string): string {
    const port = /"port": "(\d+)"/.exec(text)?.[1];
    if (port !== undefined) this.#port = port;
    const own = withoutOwnMembers(text.replaceAll(this.#dir, '@TMP@'));
    return mask(own);
  }

  async #step(transcript: Transcript, step: Step): Promise<StepOutcome> {
    if (step.waitMs !== undefined) await delay(step.waitMs);
    const party = step.party ?? (partiesOf(transcript)[0]?.[0] as string);
    const server = this.#servers.get(party) as ServerProcess;
    const key = `${party}/${step.client ?? ''}`;
    if (step.reconnect) {
      this.#peers.get(key)?.destroy();
      this.#peers.delete(key);
    }
    const peer = this.#peers.get(key) ?? (await this.#connect(transcript, server, step));
    this.#peers.set(key, peer);
    if (step.signal) server.signal(step.signal);
    if (step.stream) await writeStream(this.#placed(step.stream.path), step.stream.bytes);

    const expected = this.#seen(step.recv);
    let actual = await this.#exchange(transcript, step, peer, expected);
    const retries = ASKED_AGAIN.test(commandOf(step.send) ?? '');
    const deadline = Date.now() + this.#patienceMs;
    while (retries && actual !== expected && /^\{"return"[^\r]*\r\n$/.test(actual) && Date.now() < deadline) {
      await delay(RETRY_MS);
      actual = await this.#exchange(transcript, step, peer, expected);
    }
    if (actual !== expected && !step.hurry) {
      // What came late belongs to this step, so that the next one is compared with its own.
      actual = this.#seen(actual + (await peer.quiet(SETTLE_MS)));
    }
    if (step.close) {
      peer.destroy();
      this.#peers.delete(key);
    }
    return { step, expected, actual: transcript.anyOrder ? likeOrder(actual, expected) : actual };
  }

  /** Sends, and takes as many lines as are expected. */
  async #exchange(transcript: Transcript, step: Step, peer: Peer, expected: string): Promise<string> {
    if (step.send !== null) peer.send(this.#placed(step.send), { fd: step.passFd ?? false });
    if (step.end) peer.end();
    if (step.hurry) return '';
    if (expected === '') {
      await delay(APART_MS);
      return peer.received === '' ? '' : this.#seen(await peer.take(() => true, 0));
    }
    if (expected.includes('"RTC_CHANGE"')) {
      const text = await peer.quiet(RATE_QUIET_MS);
      return this.#seen(text) + tooOften(text);
    }
    const size = transcript.recv_len;
    const lines = linesOf(expected);
    const complete = (text: string) =>
      size === undefined ? linesOf(this.#seen(text)) >= lines && /\n$/.test(text) : text.length >= size;
    const taken = await peer.take(complete, this.#patienceMs);
    if (size !== undefined && taken.length === size) return this.#seen(taken.slice(0, step.recv.length));
    return this.#seen(taken);
  }

  /** Opens a connection; the greeting, and the negotiation, are only left to the steps that show them. */
  async #connect(transcript: Transcript, server: ServerProcess, step: Step): Promise<Peer> {
    const fds = transcript.steps.some(({ passFd }) => passFd);
    const peer = await Peer.open(server.socketPath, { fds });
    const wholeLine = (text: string) => /(^|\n)\}\r\n$|^\{"QMP.*\r\n$/s.test(text);
    if (!GREETING.test(step.recv)) await peer.take(wholeLine, this.#patienceMs);
    if (transcript.negotiated && step.client === undefined && !step.reconnect) {
      peer.send(CAPABILITIES);
      await peer.take((text) => /\}\r\n$/.test(text), this.#patienceMs);
    }
    return peer;
  }

  /** After the last step: nothing more comes, and the connection and the server are as they should be. */
  async #end(transcript: Transcript, faults: string[]): Promise<void> {
    for (const [party] of partiesOf(transcript)) {
      const server = this.#servers.get(party) as ServerProcess;
      const peer = this.#peers.get(`${party}/`);
      const closed = ofParty(transcript.closed, party) !== undefined;
      const exit = ofParty(transcript.qemu_exit, party);
      if (!closed && peer?.ended) faults.push(`${party}: the server closed the connection`);
      if (!closed) peer?.end();
      const rest = this.#seen((await peer?.take(() => false, this.#patienceMs)) ?? '');
      if (rest !== '') faults.push(`${party}: more than expected came: ${rest}`);
      if (peer && !peer.ended) faults.push(`${party}: the connection did not end`);
      if (exit !== undefined) {
        const code = await Promise.race([server.exited, delay(this.#patienceMs, 'still running')]);
        if (code !== exit) faults.push(`${party}: exit code ${exit} was expected, it is ${code}`);
      } else if (!closed && server.ended) faults.push(`${party}: the server ended with ${await server.exited}`);
    }
  }
}

/** Messages of one line each, or lines of a message in pretty mode. */
function linesOf(text: string): number {
  return text.split('\r\n').length - 1;
}

/** The lines in the order of `expected`, if they are the same ones. */
function likeOrder(actual: string, expected: string): string {
  const sorted = (text: string) => text.split('\r\n').sort().join('\r\n');
  return sorted(actual) === sorted(expected) ? expected : actual;
}

/** Plays a source that is none. */
function writeStream(path: string, bytes: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', (error) => reject(new Error(`${basename(path)}: ${error.message}`)));
    socket.once('connect', () => {
      socket.removeAllListeners('error').on('error', () => undefined); // the server may close first
      socket.end(Buffer.from(bytes, 'latin1'), () => resolve());
    });
  });
}

/**
 * Empty if the events of RTC_CHANGE are no more than QEMU lets through: the first at once, and from then on the latest of
 * each second, with the time at which it happened.
 */
function tooOften(text: string): string {
  const times = [...text.matchAll(/"seconds": (\d+), "microseconds": (\d+)\}, "event": "RTC_CHANGE"/g)].map(
    ([, seconds, micros]) => Number(seconds) * 1000 + Number(micros) / 1000,
  );
  const [first = 0] = times;
  const early = times.findIndex((time, i) => i > 1 && time - first < (i - 1) * 1000 - RATE_TOLERANCE_MS);
  return early < 0 ? '' : `event ${early + 1} of RTC_CHANGE came ${times[early]! - first} ms after the first\r\n`;
}
