/** A line of the shell as words. */

const CLOSERS: { readonly [opener: string]: string | undefined } = { '{': '}', '[': ']' };

/** Where the last word of a line begins, and the words with their quotes removed. The last one may be unfinished. */
export interface SplitLine {
  readonly words: readonly string[];
  /** Offset of the last word; the line's length when a new word would begin there. */
  readonly lastAt: number;
  /** What is missing at the end, a quote or a bracket. */
  readonly open: string | undefined;
}

/**
 * Splits a line at blanks. A word, or the value behind its first `=`, may be in 'single' or "double" quotes, or be JSON in brackets, which
 * is kept as it is with all blanks in it. In double quotes a backslash takes the next character as it is.
 */
export function splitLine(line: string): SplitLine {
  const words: string[] = [];
  let at = 0;
  let lastAt = line.length;
  while (at < line.length) {
    if (line[at] === ' ' || line[at] === '\t') {
      at++;
      lastAt = line.length;
      continue;
    }
    lastAt = at;
    let word = '';
    let start = true;
    for (; at < line.length && line[at] !== ' ' && line[at] !== '\t'; ) {
      const char = line[at] as string;
      const read = start ? (readQuoted(line, at) ?? readBrackets(line, at)) : undefined;
      if (read) {
        if (read.open !== undefined) return { words: [...words, word + read.text], lastAt, open: read.open };
        word += read.text;
        at = read.end;
        start = false;
        continue;
      }
      word += char;
      start = char === '=' && !word.slice(0, -1).includes('=');
      at++;
    }
    words.push(word);
  }
  return { words, lastAt, open: undefined };
}

interface Read {
  readonly text: string;
  readonly end: number;
  readonly open?: string;
}

function readQuoted(line: string, from: number): Read | undefined {
  const quote = line[from];
  if (quote !== '"' && quote !== "'") return undefined;
  let text = '';
  for (let at = from + 1; at < line.length; at++) {
    if (line[at] === quote) return { text, end: at + 1 };
    if (line[at] === '\\' && quote === '"' && at + 1 < line.length) at++;
    text += line[at];
  }
  return { text, end: line.length, open: quote };
}

/** JSON from its opening bracket to the one that closes it; brackets in its strings do not count. */
function readBrackets(line: string, from: number): Read | undefined {
  const closers: string[] = [];
  for (let at = from; at < line.length; at++) {
    const char = line[at] as string;
    const closer = CLOSERS[char];
    if (closer !== undefined) closers.push(closer);
    else if (char === closers.at(-1)) closers.pop();
    else if (closers.length > 0) {
      const quoted = readQuoted(line, at);
      if (quoted?.open !== undefined) return { text: line.slice(from), end: line.length, open: quoted.open };
      if (quoted) at = quoted.end - 1;
    }
    if (closers.length === 0) {
      return at === from ? undefined : { text: line.slice(from, at + 1), end: at + 1 };
    }
  }
  return { text: line.slice(from), end: line.length, open: closers.at(-1) as string };
}
