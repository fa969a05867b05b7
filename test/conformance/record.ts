#!/usr/bin/env node
/**
 * Records what QEMU answers, in the files of test/conformance/qemu-7.2/:
 *
 *     node dist/test/conformance/record.js [NAME...]
 *
 * where NAME is that of one of these files, without the extension; all by default. What is sent is what the generator of
 * that name in cases/ says; where there is none, it is what the file itself says, whose replies are recorded anew: a case
 * is added there as a line with empty `recv`s.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { batches } from './batches.js';
import type { SchemaInfo } from './cases/arguments.js';
import { CASES } from './cases/cases.js';
import { NONE } from './cases/machines.js';
import type { Peer } from './peer.js';
import { Stage } from './stage.js';
import { loadTranscripts, partiesOf, type Step, type Transcript } from './transcript.js';

const DIR = fileURLToPath(new URL('../../../test/conformance/qemu-7.2', import.meta.url));
const QEMU = ['qemu-system-x86_64'];
/** How long a reply may take, and how long it is waited for more after one. */
const REPLY_MS = 250;
const QUIET_MS = 25;
/** A whole command is answered, however long it takes on a busy host. */
const COMMAND_MS = 3000;
const EXIT_MS = 1500;

async function recordTogether(transcripts: readonly Transcript[]): Promise<Transcript[]> {
  const stage = new Stage(QEMU);
  const recorded: Transcript[] = [];
  try {
    await stage.open(transcripts[0] as Transcript);
    for (const transcript of transcripts) {
      const steps: Step[] = [];
      for (const step of transcript.steps) steps.push(await recordStep(stage, transcript, step));
      const ends =
        transcript.session === undefined && transcripts.length === 1 ? await recordEnd(stage, transcript) : {};
      recorded.push({ ...transcript, steps, ...ends });
      if (transcript.session === undefined) stage.closeClients();
    }
  } finally {
    await stage.close();
  }
  return recorded;
}

async function recordStep(stage: Stage, transcript: Transcript, step: Step): Promise<Step> {
  const peer = await stage.begin(transcript, step);
  const recv = step.hurry ? '' : replyInPlace(stage.seen(await everything(peer, step)));
  if (step.close) stage.leave(transcript, step);
  const { settleMs, ...rest } = step;
  return { ...rest, recv };
}

/**
 * A migration's thread runs beside the reply to `migrate` or `migrate-continue`, which may be anywhere among its events: it
 * is put where it mostly is.
 */
function replyInPlace(recv: string): string {
  const lines = recv.split('\r\n');
  const at = lines.indexOf('{"return": {}}');
  if (at > 0 && lines[0]?.includes('"MIGRATION", "data": {"status": "setup"}')) {
    lines.splice(1, 0, ...lines.splice(at, 1));
  }
  if (at === 1 && lines[0]?.includes('"MIGRATION", "data": {"status": "device"}')) {
    lines.unshift(...lines.splice(at, 1));
  }
  return lines.join('\r\n');
}

function isCommand(send: string | null): boolean {
  try {
    return Object.hasOwn(JSON.parse(send ?? ''), 'execute');
  } catch {
    return false;
  }
}

/** What comes until nothing more does. */
async function everything(peer: Peer, { send, settleMs }: Step): Promise<string> {
  const isReply = (text: string) => /^\{"(return|error|id|QMP)"|^\}\r\n/m.test(text) && text.endsWith('\n');
  const first = await peer.take(isReply, isCommand(send) ? COMMAND_MS : (settleMs ?? REPLY_MS));
  return first + (await peer.quiet(settleMs ?? QUIET_MS));
}

/** Which servers have closed the connection or ended by themselves. */
async function recordEnd(stage: Stage, transcript: Transcript): Promise<Partial<Transcript>> {
  const closed: { [party: string]: string } = {};
  const exit: { [party: string]: number } = {};
  const alone = Array.isArray(transcript.qemu_args);
  for (const [party] of partiesOf(transcript)) {
    if (!stage.peer(party)?.ended) continue;
    closed[party] = 'EOF';
    const code = await Promise.race([stage.server(party).exited, delay(EXIT_MS)]);
    if (typeof code === 'number') exit[party] = code;
  }
  return {
    ...(Object.keys(closed).length > 0 ? { closed: alone ? (closed.main as string) : closed } : {}),
    ...(Object.keys(exit).length > 0 ? { qemu_exit: alone ? (exit.main as number) : exit } : {}),
  };
}

/** What QEMU says of its commands. */
async function querySchema(): Promise<SchemaInfo[]> {
  const stage = new Stage(QEMU);
  const step: Step = { send: '{"execute":"query-qmp-schema"}\n', recv: '', settleMs: REPLY_MS };
  const transcript: Transcript = { name: 'schema', negotiated: true, qemu_args: NONE, steps: [step] };
  try {
    await stage.open(transcript);
    const peer = await stage.begin(transcript, step);
    return JSON.parse(await peer.take((text) => text.endsWith('\n'), EXIT_MS)).return;
  } finally {
    await stage.close();
  }
}

const schema = await querySchema();
const present = readdirSync(DIR).map((name) => name.replace('.jsonl', ''));
for (const file of new Set([...Object.keys(CASES), ...present])) {
  if (process.argv.length > 2 && !process.argv.slice(2).includes(file)) continue;
  const recorded = new Map<string, Transcript>();
  const all = CASES[file]?.(schema) ?? loadTranscripts(`${DIR}/${file}.jsonl`);
  for (const batch of batches(all, () => true)) {
    for (const transcript of await recordTogether(batch)) recorded.set(transcript.name, transcript);
  }
  if (recorded.size !== all.length) throw new Error(`${file}: two transcripts have the same name`);
  const lines = all.map(({ name }) => `${JSON.stringify(recorded.get(name))}\n`);
  writeFileSync(`${DIR}/${file}.jsonl`, lines.join(''));
  process.stdout.write(`${file}: ${lines.length} transcripts\n`);
}
