/** A line being typed, as QEMU's monitor edits and echoes it (util/readline.c), byte by byte. Pure: what it shows goes to `show`. */
import type { Completions } from './completion.js';

/** Longest line, in bytes; more are not taken. */
const MAX_LINE_BYTES = 4095;
const MAX_HISTORY = 64;

/**
 * Beyond this length a character typed at the end is echoed alone instead of with the whole line again. A terminal shows the
 * same; but the echo of a pasted line does not grow with the square of its length.
 */
const FULL_ECHO_BYTES = 256;

const LEFT = '\x1b[D';
const RIGHT = '\x1b[C';
const CLEAR_TO_END = '\x1b[K';
const CLEAR_SCREEN = '\x1b[2J\x1b[1;1H';
const COLUMNS = 80;

type EscapeState = 'none' | 'escape' | 'csi' | 'ss3';

/** Lines that were typed, oldest first; each is there once. Kept from one client of a monitor to the next. */
export class LineHistory {
  readonly lines: string[] = [];

  add(line: string): void {
    if (line === '') return;
    const same = this.lines.indexOf(line);
    if (same >= 0) this.lines.splice(same, 1);
    this.lines.push(line);
    if (this.lines.length > MAX_HISTORY) this.lines.shift();
  }
}

/** What a byte asks for besides what the editor does itself. */
export type EditorRequest = { readonly kind: 'line'; readonly line: string } | { readonly kind: 'complete' };

export class LineEditor {
  readonly #prompt: string;
  readonly #show: (text: string) => void;
  readonly #history: LineHistory;
  /** The line, a character a byte, and the cursor in it. */
  #line = '';
  #cursor = 0;
  /** What of it is on the screen. */
  #shownLine = '';
  #shownCursor = 0;
  /** The entry of the history that is shown; its length while none is. */
  #entry: number | undefined;
  #escape: EscapeState = 'none';
  #escapeNumber = 0;

  constructor(prompt: string, history: LineHistory, show: (text: string) => void) {
    this.#prompt = prompt;
    this.#history = history;
    this.#show = show;
  }

  /** The line up to the cursor. */
  get beforeCursor(): string {
    return this.#line.slice(0, this.#cursor);
  }

  showPrompt(): void {
    this.#show(this.#prompt);
    this.#shownLine = '';
    this.#shownCursor = 0;
    this.#escape = 'none';
  }

  /** Takes one byte. */
  feed(byte: number): EditorRequest | undefined {
    let request: EditorRequest | undefined;
    if (this.#escape === 'none') request = this.#key(byte);
    else this.#escapeSequence(byte);
    if (request === undefined) this.#update();
    return request;
  }

  #key(byte: number): EditorRequest | undefined {
    switch (byte) {
      case 0x01: // ^A
        this.#cursor = 0;
        break;
      case 0x04: // ^D
        this.#deleteAtCursor();
        break;
      case 0x05: // ^E
        this.#cursor = this.#line.length;
        break;
      case 0x09: // tab
        return { kind: 'complete' };
      case 0x0c: // ^L
        this.#show(CLEAR_SCREEN);
        this.showPrompt();
        break;
      case 0x0a:
      case 0x0d:
        return { kind: 'line', line: this.#finish() };
      case 0x17: // ^W
        this.#deleteWord();
        break;
      case 0x1b:
        this.#escape = 'escape';
        break;
      case 0x08:
      case 0x7f:
        if (this.#cursor > 0) {
          this.#cursor--;
          this.#deleteAtCursor();
        }
        break;
      default:
        if (byte >= 0x20) this.#insert(String.fromCharCode(byte));
    }
    return undefined;
  }

  #finish(): string {
    const line = this.#line;
    this.#history.add(line);
    this.#entry = undefined;
    this.#show('\n');
    this.#setLine('');
    this.#shownLine = '';
    this.#shownCursor = 0;
    return line;
  }

  #escapeSequence(byte: number): void {
    const state = this.#escape;
    const char = String.fromCharCode(byte);
    this.#escape = 'none';
    if (state === 'escape') {
      this.#escapeNumber = 0;
      if (char === '[') this.#escape = 'csi';
      else if (char === 'O') this.#escape = 'ss3';
    } else if (state === 'ss3') {
      if (char === 'H') this.#cursor = 0;
      else if (char === 'F') this.#cursor = this.#line.length;
    } else if (char >= '0' && char <= '9') {
      this.#escapeNumber = Math.min(this.#escapeNumber * 10 + Number(char), 999);
      this.#escape = 'csi';
    } else {
      this.#controlSequence(char);
    }
  }

  #controlSequence(final: string): void {
    switch (final) {
      case 'A':
      case 'F':
        this.#recall(-1);
        break;
      case 'B':
      case 'E':
        this.#recall(1);
        break;
      case 'C':
        this.#cursor = Math.min(this.#cursor + 1, this.#line.length);
        break;
      case 'D':
        this.#cursor = Math.max(this.#cursor - 1, 0);
        break;
      case '~':
        if (this.#escapeNumber === 1) this.#cursor = 0;
        else if (this.#escapeNumber === 3) this.#deleteAtCursor();
        else if (this.#escapeNumber === 4) this.#cursor = this.#line.length;
    }
  }

  #setLine(line: string): void {
    this.#line = line;
    this.#cursor = line.length;
  }

  /** Steps through the history. */
  #recall(step: 1 | -1): void {
    const { lines } = this.#history;
    if (step === 1 && this.#entry === undefined) return;
    const entry = (this.#entry ?? lines.length) + step;
    if (entry < 0) return;
    this.#entry = entry < lines.length ? entry : undefined;
    this.#setLine(lines[entry] ?? '');
  }

  #insert(text: string): void {
    const taken = text.slice(0, MAX_LINE_BYTES - this.#line.length);
    this.#line = this.#line.slice(0, this.#cursor) + taken + this.#line.slice(this.#cursor);
    this.#cursor += taken.length;
  }

  #deleteAtCursor(): void {
    this.#line = this.#line.slice(0, this.#cursor) + this.#line.slice(this.#cursor + 1);
  }

  #deleteWord(): void {
    const kept = this.beforeCursor.replace(/[^ \t\n\v\f\r]*[ \t\n\v\f\r]*$/, '');
    this.#line = kept + this.#line.slice(this.#cursor);
    this.#cursor = kept.length;
  }

  /** Puts the one completion there is into the line, or lists them. */
  complete({ words, typed }: Completions): void {
    const [first] = words;
    if (first !== undefined && words.length === 1) {
      this.#insert(`${first.slice(typed)} `);
    } else if (first !== undefined) {
      let common = first.length;
      for (const word of words) while (!word.startsWith(first.slice(0, common))) common--;
      this.#insert(first.slice(typed, common));
      this.#list(words);
      this.showPrompt();
    }
    this.#update();
  }

  #list(words: readonly string[]): void {
    const width = Math.min(Math.max(...words.map((word) => word.length + 2), 10), COLUMNS);
    const perRow = Math.floor(COLUMNS / width);
    this.#show('\n');
    for (let row = 0; row < words.length; row += perRow) {
      const cells = words.slice(row, row + perRow).map((word) => word.padEnd(width));
      this.#show(`${cells.join('')}\n`);
    }
  }

  /** Brings the screen up to date. */
  #update(): void {
    const line = this.#line;
    if (line !== this.#shownLine) {
      const shown = this.#shownLine;
      const appended = this.#shownCursor === shown.length && line.startsWith(shown);
      if (line.length > FULL_ECHO_BYTES && appended) this.#show(line.slice(shown.length));
      else this.#show(`${LEFT.repeat(this.#shownCursor)}${line}${CLEAR_TO_END}`);
      this.#shownLine = line;
      this.#shownCursor = line.length;
    }
    const delta = this.#cursor - this.#shownCursor;
    if (delta !== 0) this.#show((delta > 0 ? RIGHT : LEFT).repeat(Math.abs(delta)));
    this.#shownCursor = this.#cursor;
  }
}
