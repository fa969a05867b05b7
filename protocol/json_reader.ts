import { LOOKAHEAD, State, Token, TRANSITIONS } from './json_lexer.js';
import { JsonParseError, parseTokens } from './json_parser.js';
import type { JsonValue } from './json_value.js';
import { decodeModifiedUtf8 } from './modified_utf8.js';
import { texts } from './qmp_errors.js';

/** One result of reading: a value, or the text of an error (QEMU's words, class GenericError). */
export type JsonResult = { readonly value: JsonValue } | { readonly error: string };

/** What one value may take; QEMU's limits (qobject/json-streamer.c). */
export interface JsonLimits {
  /** Bytes of token text. */
  readonly bytes: number;
  /** Tokens. */
  readonly tokens: number;
  /** Open braces and brackets. */
  readonly depth: number;
}

export const QEMU_LIMITS: JsonLimits = { bytes: 64 << 20, tokens: 2 << 20, depth: 1 << 10 };

/** Buffers that grew beyond this are let go once a value is complete. */
const KEEP_BYTES = 64 << 10;
const FIRST_BYTES = 4096;

/**
 * Reads a stream of JSON values that nothing separates, byte for byte as QEMU 7.2's monitor does: the same values, the
 * same error texts in the same places, the same recovery. Results do not depend on how the stream is cut into chunks.
 * Memory is bounded by the limits, however long the input.
 */
export class JsonReader {
  readonly #limits: JsonLimits;
  #state: number = State.START;
  #braces = 0;
  #brackets = 0;
  #count = 0;
  #types = new Uint8Array(256);
  #ends = new Uint32Array(256);
  #text = new Uint8Array(FIRST_BYTES);
  /** Bytes in #text, of which #tokenStart.. belong to the token being read. */
  #length = 0;
  #tokenStart = 0;

  constructor(limits: JsonLimits = QEMU_LIMITS) {
    this.#limits = limits;
  }

  /** Reads more bytes; returns what they complete, in order. Never throws. */
  feed(chunk: Uint8Array): JsonResult[] {
    const results: JsonResult[] = [];
    for (let i = 0; i < chunk.length; i++) this.#byte(chunk[i] as number, results);
    return results;
  }

  /** The stream has ended: drops an incomplete value without a word, as QEMU does. The reader can be used again. */
  end(): void {
    this.#state = State.START;
    this.#reset();
  }

  #byte(byte: number, results: JsonResult[]): void {
    for (;;) {
      const entry = TRANSITIONS[(this.#state << 8) | byte] as number;
      const next = entry & ~LOOKAHEAD;
      const consumed = entry === next;
      // White space between tokens and bytes dropped in recovery take no room.
      if (consumed && next !== State.START && next !== State.RECOVERY) this.#append(byte);
      if (next < State.START) {
        if (next === Token.ERROR) {
          this.#stray(results);
          this.#state = State.RECOVERY;
        } else {
          this.#token(next as Token, results);
          this.#state = State.START;
        }
      } else {
        this.#state = next;
        if (this.#length - this.#tokenStart > this.#limits.bytes) {
          this.#reject(texts.tokenSize, results);
          this.#state = State.START;
        }
      }
      if (consumed) return;
    }
  }

  #append(byte: number): void {
    if (this.#length === this.#text.length) {
      // A token may reach the limit on top of a value that is just below it; no more is ever held.
      const size = Math.min(this.#text.length * 2, 2 * this.#limits.bytes + 2);
      this.#text = grow(this.#text, new Uint8Array(size));
    }
    this.#text[this.#length++] = byte;
  }

  /** A byte that no token can hold: QEMU quotes the token so far, up to a NUL. */
  #stray(results: JsonResult[]): void {
    const token = this.#text.subarray(this.#tokenStart, this.#length);
    const nul = token.indexOf(0);
    this.#reject(texts.stray(decodeModifiedUtf8(token, 0, nul < 0 ? token.length : nul)), results);
  }

  #reject(error: string, results: JsonResult[]): void {
    this.#reset();
    results.push({ error });
  }

  #token(type: Token, results: JsonResult[]): void {
    if (type === Token.LCURLY) this.#braces++;
    else if (type === Token.RCURLY) this.#braces--;
    else if (type === Token.LSQUARE) this.#brackets++;
    else if (type === Token.RSQUARE) this.#brackets--;

    const excess = this.#excess();
    if (excess) {
      this.#reject(excess, results);
      return;
    }
    if (this.#count === this.#types.length) {
      this.#types = grow(this.#types, new Uint8Array(this.#count * 2));
      this.#ends = grow(this.#ends, new Uint32Array(this.#count * 2));
    }
    this.#types[this.#count] = type;
    this.#ends[this.#count] = this.#length;
    this.#count++;
    this.#tokenStart = this.#length;

    // A value is complete when nothing is open, and hopeless when more was closed than opened.
    if ((this.#braces > 0 || this.#brackets > 0) && this.#braces >= 0 && this.#brackets >= 0) return;
    results.push(this.#parse());
    this.#reset();
  }

  /** Which limit the token just read exceeds. */
  #excess(): string | undefined {
    if (this.#length + 1 > this.#limits.bytes) return texts.tokenSize;
    if (this.#count + 1 > this.#limits.tokens) return texts.tokenCount;
    if (this.#braces + this.#brackets > this.#limits.depth) return texts.nesting;
    return undefined;
  }

  #parse(): JsonResult {
    try {
      const tokens = { count: this.#count, types: this.#types, ends: this.#ends, text: this.#text };
      return { value: parseTokens(tokens) };
    } catch (error) {
      if (error instanceof JsonParseError) return { error: error.message };
      throw error;
    }
  }

  #reset(): void {
    this.#braces = this.#brackets = this.#count = this.#length = this.#tokenStart = 0;
    if (this.#text.length > KEEP_BYTES) this.#text = new Uint8Array(FIRST_BYTES);
    if (this.#types.length > KEEP_BYTES) {
      this.#types = new Uint8Array(256);
      this.#ends = new Uint32Array(256);
    }
  }
}

function grow<T extends Uint8Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
