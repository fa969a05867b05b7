/** What a tab may complete. */
import { findHmpCommand, type HmpCommand, type MonitorContext } from './command.js';
import { isSpace, splitWords } from './scanner.js';

export interface Completions {
  /** Whole words, in order, each beginning with what was typed of it. */
  readonly words: readonly string[];
  /** How many characters of the word were typed. */
  readonly typed: number;
}

/** Completes the last word of a line. */
export async function completeLine(
  commands: readonly HmpCommand[],
  line: string,
  monitor: MonitorContext,
): Promise<Completions> {
  const words = splitWords(line) ?? [];
  const last = line === '' || isSpace(line.slice(-1)) ? '' : (words.pop() ?? '');
  const candidates = await nextWords(commands, words, monitor);
  return { words: candidates.filter((word) => word.startsWith(last)).sort(), typed: last.length };
}

async function nextWords(
  commands: readonly HmpCommand[],
  [name, ...rest]: readonly string[],
  monitor: MonitorContext,
): Promise<readonly string[]> {
  if (name === undefined) return commands.flatMap((entry) => entry.name.split('|'));
  const found = findHmpCommand(commands, name);
  if (found?.children) return nextWords(found.children, rest, monitor);
  return (await found?.complete?.(rest, monitor)) ?? [];
}
