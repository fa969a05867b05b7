import { readFileSync } from 'node:fs';
import { differs, type Outcome, type StepOutcome } from './play_transcript.js';
import { commandOf, partiesOf } from './transcript.js';

/**
 * A difference that is wanted, and why. It has one of:
 * - `commands`: commands that are not offered. They excuse a step that executes one, where the answer is that it has not been found;
 * - `sends` and `answers`: patterns of what a step sends and of the one line that answers it otherwise than QEMU does;
 * - `option`: a pattern of the arguments (joined by spaces). It excuses a transcript whose server does not start, where that
 *   says `refuses`;
 * - `name`: a pattern of names of transcripts, each excused as a whole.
 */
export interface NotHere {
  readonly reason: string;
  /** Only needed for records of another host. */
  readonly elsewhere?: boolean;
  readonly commands?: readonly string[];
  readonly sends?: string;
  readonly answers?: string;
  readonly option?: string;
  readonly refuses?: string;
  readonly name?: string;
}

export interface Verdict {
  readonly outcome: Outcome;
  readonly result: 'ok' | 'not ok' | 'skip';
  /** The steps that differ and are not excused. */
  readonly differences: readonly StepOutcome[];
  /** Why steps were excused. */
  readonly reasons: readonly string[];
}

/** The list of wanted differences, which knows whether each of its entries is needed. */
export class NotHereList {
  readonly #entries: readonly NotHere[];
  /** The entries that excused something, and of those that list commands, which ones. */
  readonly #needed = new Set<NotHere | string>();
  readonly #stale = new Set<string>();

  constructor(entries: readonly NotHere[]) {
    this.#entries = entries;
  }

  static load(path: string): NotHereList {
    return new NotHereList(JSON.parse(readFileSync(path, 'utf8')) as NotHere[]);
  }

  judge(outcome: Outcome): Verdict {
    const { transcript, faults } = outcome;
    const differing = outcome.steps.filter(differs);
    const failed = differing.length > 0 || faults.length > 0;
    const named = this.#entries.find(
      ({ name }) => name !== undefined && new RegExp(`^(${name})$`).test(transcript.name),
    );
    if (named && !failed) this.#stale.add(`'${transcript.name}' is listed as not here, and passes`);
    if (named && failed) return this.#skip(outcome, [named]);
    const refused = failed && outcome.steps.length === 0 ? this.#refusing(outcome) : undefined;
    if (refused) return this.#skip(outcome, [refused]);

    const excused = differing.map((step) => ({ step, entry: this.#entries.find((entry) => excuses(entry, step)) }));
    const differences = excused.filter(({ entry }) => !entry).map(({ step }) => step);
    const entries = excused.flatMap(({ entry }) => (entry ? [entry] : []));
    for (const { step, entry } of excused) {
      if (entry) this.#needed.add(entry.commands ? (commandOf(step.step.send) as string) : entry);
    }
    if (differences.length > 0 || faults.length > 0) {
      return { outcome, result: 'not ok', differences, reasons: [] };
    }
    return entries.length > 0 ? this.#skip(outcome, entries) : { outcome, result: 'ok', differences: [], reasons: [] };
  }

  /** What is wrong with the list, once everything has been played. */
  faults(): string[] {
    const unused = this.#entries.flatMap(({ commands, ...entry }, i) => {
      if (commands) return commands.filter((name) => !this.#needed.has(name));
      return entry.elsewhere || this.#needed.has(this.#entries[i] as NotHere) ? [] : [JSON.stringify(entry)];
    });
    return [...this.#stale, ...unused.map((entry) => `the list of what is not here excuses nothing by ${entry}`)];
  }

  #skip(outcome: Outcome, entries: readonly NotHere[]): Verdict {
    for (const entry of entries) if (!entry.commands) this.#needed.add(entry);
    return { outcome, result: 'skip', differences: [], reasons: [...new Set(entries.map(({ reason }) => reason))] };
  }

  #refusing({ transcript, faults }: Outcome): NotHere | undefined {
    const args = partiesOf(transcript).flatMap(([, list]) => list);
    return this.#entries.find(
      ({ option, refuses }) =>
        option !== undefined &&
        new RegExp(option).test(args.join(' ')) &&
        new RegExp(refuses ?? '').test(faults.join('\n')),
    );
  }
}

function excuses({ commands, sends, answers }: NotHere, { step, actual }: StepOutcome): boolean {
  if (commands !== undefined) {
    const command = commandOf(step.send) ?? '';
    return commands.includes(command) && actual.includes(`"desc": "The command ${command} has not been found"`);
  }
  if (sends === undefined || answers === undefined) return false;
  return new RegExp(sends).test(step.send ?? '') && new RegExp(answers).test(actual);
}
