#!/usr/bin/env node
/**
 * Plays transcripts of QEMU's QMP against vmhostd:
 *
 *     node dist/test/conformance/play.js [--group G] [--name N] [--patience MS] [--verbose] [--complete] [--server PROGRAM] FILE...
 *
 * Prints a line for each record, as TAP (ok, not ok with what differs, or skipped with the reason), and a summary. The exit
 * code is 1 when anything differs; with --complete, also when a wanted difference of not-here.json is not met.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { batches } from './batches.js';
import { explicit } from './hints.js';
import { NotHereList, type Verdict } from './not_here.js';
import { playTogether } from './play_transcript.js';
import { loadTranscripts } from './transcript.js';

/** The wanted differences. */
export const NOT_HERE = fileURLToPath(new URL('../../../test/conformance/not-here.json', import.meta.url));

/** What differs, one line expected and received at a time. */
export function describe({ outcome, differences }: Verdict): string {
  const lines: string[] = [];
  for (const { step, expected, actual } of differences) {
    const number = outcome.transcript.steps.indexOf(step) + 1;
    const party = step.party ? ` (${step.party})` : '';
    lines.push(`step ${number}${party} sends ${JSON.stringify(shorten(step.send ?? ''))}`);
    const [wanted, got] = [expected.split('\r\n'), actual.split('\r\n')];
    for (let i = 0; i < Math.max(wanted.length, got.length); i++) {
      if (wanted[i] === got[i]) {
        if (wanted[i]) lines.push(`    ${shorten(wanted[i] as string)}`);
        continue;
      }
      const at = firstDifference(wanted[i] ?? '', got[i] ?? '');
      if (wanted[i]) lines.push(`  - ${around(wanted[i] as string, at)}`);
      if (got[i]) lines.push(`  + ${around(got[i] as string, at)}`);
    }
  }
  lines.push(...outcome.faults);
  if (outcome.faults.length > 0 && outcome.stderr) lines.push(`standard error: ${outcome.stderr.trim()}`);
  return lines.map((line) => `    ${line}`).join('\n');
}

const LONG = 400;

function shorten(text: string): string {
  return text.length > LONG ? `${text.slice(0, LONG)}... (${text.length} bytes)` : text;
}

function firstDifference(a: string, b: string): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  return i;
}

/** A long text from somewhat before the place that matters. */
function around(text: string, at: number): string {
  const from = text.length > LONG ? Math.max(0, at - 60) : 0;
  return `${from > 0 ? `[${from}]...` : ''}${shorten(text.slice(from))}`;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      group: { type: 'string' },
      name: { type: 'string' },
      patience: { type: 'string', default: '3000' },
      server: { type: 'string' },
      verbose: { type: 'boolean', default: false },
      complete: { type: 'boolean', default: false },
    },
  });
  if (positionals.length === 0) {
    process.stderr.write('no file of transcripts is given\n');
    return 2;
  }
  const list = NotHereList.load(NOT_HERE);
  let number = 0;
  const counts = { ok: 0, 'not ok': 0, skip: 0 };
  const wanted = ({ name, group }: { name: string; group?: string }) =>
    (values.group === undefined || values.group === group) && (values.name === undefined || values.name === name);
  for (const file of positionals) {
    for (const batch of batches(loadTranscripts(file).map(explicit), wanted)) {
      const options = {
        patienceMs: Number(values.patience),
        ...(values.server ? { server: values.server.split(' ') } : {}),
      };
      for (const outcome of await playTogether(batch, options)) {
        if (!wanted(outcome.transcript)) continue;
        const verdict = list.judge(outcome);
        counts[verdict.result]++;
        number++;
        const reasons = verdict.reasons.length > 0 ? ` # SKIP ${verdict.reasons.join('; ')}` : '';
        process.stdout.write(
          `${verdict.result === 'skip' ? 'ok' : verdict.result} ${number} - ${outcome.transcript.name}${reasons}\n`,
        );
        if (verdict.result === 'not ok') process.stdout.write(`${describe(verdict)}\n`);
        else if (values.verbose) {
          for (const { actual } of outcome.steps) process.stdout.write(actual.replace(/^/gm, '    '));
        }
      }
    }
  }
  for (const fault of values.complete ? list.faults() : []) {
    counts['not ok']++;
    process.stdout.write(`not ok ${++number} - ${fault}\n`);
  }
  process.stdout.write(`${counts.ok} passed, ${counts['not ok']} failed, ${counts.skip} skipped\n`);
  return counts['not ok'] > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
