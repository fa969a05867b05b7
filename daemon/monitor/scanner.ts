/** A command line as the monitor's parsers walk it, left to right. */

/** A line that is not a command, in the words that are shown for it. */
export class HmpSyntaxError extends Error {
  override name = 'HmpSyntaxError';
}

/** C's isspace(3). */
export function isSpace(char: string): boolean {
  return /^[ \t\n\v\f\r]$/.test(char);
}

export class Scanner {
  readonly text: string;
  /** Index of the next character. */
  at: number;

  constructor(text: string, at = 0) {
    this.text = text;
    this.at = at;
  }

  /** The next character; empty at the end. */
  get next(): string {
    return this.text.charAt(this.at);
  }

  get atEnd(): boolean {
    return this.at >= this.text.length;
  }

  skipSpaces(): void {
    while (isSpace(this.next)) this.at++;
  }

  /** Takes what a sticky expression matches here, and moves past it. */
  take(sticky: RegExp): string | undefined {
    sticky.lastIndex = this.at;
    const found = sticky.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  /** The rest of the line. */
  rest(): string {
    const rest = this.text.slice(this.at);
    this.at = this.text.length;
    return rest;
  }

  /**
   * A word up to the next space, or a string in double quotes with the escapes \n \r \\ \' \" .
   * @returns undefined where there is none, or where its quote or an escape is wrong (get_str of QEMU's monitor/hmp.c)
   */
  word(): string | undefined {
    this.skipSpaces();
    if (this.atEnd) return undefined;
    if (this.next !== '"') return this.take(/[^ \t\n\v\f\r]+/y);
    const quoted = this.take(/"(?:[^"\\]|\\[nr\\'"])*"/y);
    return quoted?.slice(1, -1).replace(/\\(.)/g, (_, char: string) => ({ n: '\n', r: '\r' })[char] ?? char);
  }
}

/** Most words that completion and `help` look at: MAX_ARGS of QEMU's monitor. */
const MAX_WORDS = 16;

/** Splits a line into its words; undefined where a quote is not closed or there are too many. */
export function splitWords(text: string): string[] | undefined {
  const scan = new Scanner(text);
  const words: string[] = [];
  for (scan.skipSpaces(); !scan.atEnd; scan.skipSpaces()) {
    const word = scan.word();
    if (word === undefined || words.length === MAX_WORDS) return undefined;
    words.push(word);
  }
  return words;
}
