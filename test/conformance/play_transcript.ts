import { setTimeout as delay } from 'node:timers/promises';
import type { Peer } from './peer.js';
import type { ServerProcess } from './server_process.js';
import { linesOf, Stage } from './stage.js';
import { commandOf, ofParty, partiesOf, type Step, type Transcript } from './transcript.js';

/** What two writes are apart that the server must see as two. */
const APART_MS = 10;
/** How long nothing may come before what differs is looked at. */
const SETTLE_MS = 150;
/** How long a server that closed its connections may take to end. */
const ENDS_MS = 60;
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
export async function playTogether(
  transcripts: readonly Transcript[],
  { server, patienceMs = 3000 }: PlayOptions = {},
): Promise<Outcome[]> {
  const stage = new Stage(server);
  const outcomes: Outcome[] = [];
  try {
    await stage.open(transcripts[0] as Transcript);
    for (const transcript of transcripts) {
      const steps: StepOutcome[] = [];
      for (const step of transcript.steps) steps.push(await playStep(stage, transcript, step, patienceMs));
      const faults = transcript === transcripts.at(-1) ? await playEnd(stage, transcript, patienceMs) : [];
      outcomes.push({ transcript, steps, faults, stderr: stage.stderr });
      if (transcript.session === undefined) stage.closeClients();
    }
  } catch (error) {
    const faults = [(error as Error).message];
    for (const transcript of transcripts.slice(outcomes.length)) {
      outcomes.push({ transcript, steps: [], faults, stderr: stage.stderr });
    }
  } finally {
    await stage.close();
  }
  return outcomes;
}

async function playStep(stage: Stage, transcript: Transcript, step: Step, patienceMs: number): Promise<StepOutcome> {
  const expected = stage.seen(step.recv);
  const peer = await stage.begin(transcript, step);
  const receive = () => received(stage, transcript, step, peer, { expected, patienceMs });
  let actual = step.hurry ? '' : await receive();
  const asksAgain = ASKED_AGAIN.test(commandOf(step.send) ?? '');
  const deadline = Date.now() + patienceMs;
  while (asksAgain && actual !== expected && /^\{"return"[^\r]*\r\n$/.test(actual) && Date.now() < deadline) {
    await delay(RETRY_MS);
    stage.send(step, peer);
    actual = await receive();
  }
  // What came late belongs to this step, so that the next one is compared with its own.
  if (actual !== expected && !step.hurry) actual = stage.seen(actual + (await peer.quiet(SETTLE_MS)));
  if (step.close) stage.leave(transcript, step);
  return { step, expected, actual: transcript.anyOrder ? inOrderOf(expected, actual) : actual };
}

/** Takes as many lines as are expected. */
async function received(
  stage: Stage,
  transcript: Transcript,
  step: Step,
  peer: Peer,
  { expected, patienceMs }: { expected: string; patienceMs: number },
): Promise<string> {
  if (expected === '') {
    await delay(APART_MS);
    return peer.received === '' ? '' : stage.seen(await peer.take(() => true, 0));
  }
  if (expected.includes('"RTC_CHANGE"')) {
    const text = await peer.quiet(RATE_QUIET_MS);
    return stage.seen(text) + tooOften(text);
  }
  const bytes = transcript.recv_len;
  const lines = linesOf(expected);
  const complete = (text: string) =>
    bytes === undefined ? /\n$/.test(text) && linesOf(stage.seen(text)) >= lines : text.length >= bytes;
  const taken = await peer.take(complete, patienceMs);
  return stage.seen(taken.length === bytes ? taken.slice(0, step.recv.length) : taken);
}

/** After the last step: nothing more comes, and the connections and the servers are as they should be. */
async function playEnd(stage: Stage, transcript: Transcript, patienceMs: number): Promise<string[]> {
  const faults: string[] = [];
  for (const [party] of partiesOf(transcript)) {
    const server = stage.server(party);
    const peer = stage.peer(party);
    const closed = ofParty(transcript.closed, party) !== undefined;
    const exit = ofParty(transcript.qemu_exit, party);
    if (!closed && peer?.ended) faults.push(`${party}: the server closed the connection`);
    if (!closed) peer?.end();
    const rest = stage.seen((await peer?.take(() => false, patienceMs)) ?? '');
    if (rest !== '') faults.push(`${party}: more than expected came: ${rest}`);
    if (peer && !peer.ended) faults.push(`${party}: the connection did not end`);
    if (exit !== undefined) {
      const code = await Promise.race([server.exited, delay(patienceMs, 'still running')]);
      if (code !== exit) faults.push(`${party}: exit code ${exit} was expected, it is ${code}`);
    } else if (!closed && (await endsSoon(server)))
      faults.push(`${party}: the server ended with ${await server.exited}`);
  }
  return faults;
}

/** Whether a server that should go on ends. */
function endsSoon(server: ServerProcess): Promise<boolean> {
  return Promise.race([server.exited.then(() => true), delay(ENDS_MS, false)]);
}

/** The lines in the order of `expected`, if they are the same ones. */
function inOrderOf(expected: string, actual: string): string {
  const sorted = (text: string) => text.split('\r\n').sort().join('\r\n');
  return sorted(actual) === sorted(expected) ? expected : actual;
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
  return early < 0 ? '' : `event ${early + 1} of RTC_CHANGE came ${(times[early] ?? 0) - first} ms after the first\r\n`;
}
