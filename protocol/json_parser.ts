import { Token } from './json_lexer.js';
import { type JsonValue, jsonObject } from './json_value.js';
import {
  appendModifiedUtf8,
  ascii,
  decodeModifiedUtf8,
  isPlainAscii,
  isValidCodepoint,
  StringBuilder,
} from './modified_utf8.js';
import { texts } from './qmp_errors.js';

/** The tokens of one value: `types[i]` spans bytes `ends[i - 1]`..`ends[i]` of `text` (from 0 for the first). */
export interface TokenList {
  readonly count: number;
  readonly types: Uint8Array;
  readonly ends: Uint32Array;
  readonly text: Uint8Array;
}

/** Why a list of tokens is not a value: the first fault met, in the words of QEMU 7.2. */
export class JsonParseError extends Error {
  override name = 'JsonParseError';
}

/** QEMU formats a parser message into 1024 bytes, with the terminating NUL. */
const MESSAGE_BYTES = 1023;

const BACKSLASH = 0x5c;
const LETTER_U = 0x75;

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;
/** No integer of this many characters fits in 64 bits; longer ones are never handed to BigInt, which is quadratic. */
const INTEGER_CHARS = 20;

/** Parses one value; throws JsonParseError. The reader bounds the nesting depth, and so the recursion here. */
export function parseTokens(tokens: TokenList): JsonValue {
  return new Parser(tokens).value();
}

function fail(message: string): never {
  throw new JsonParseError(texts.parseError(message));
}

class Parser {
  readonly #tokens: TokenList;
  #at = 0;

  constructor(tokens: TokenList) {
    this.#tokens = tokens;
  }

  value(): JsonValue {
    switch (this.#peek()) {
      case Token.LCURLY:
        return this.#object();
      case Token.LSQUARE:
        return this.#array();
      case Token.STRING:
        return this.#string(this.#at++);
      case Token.INTEGER:
        return parseInteger(this.#ascii(this.#at++));
      case Token.FLOAT:
        return Number(this.#ascii(this.#at++));
      case Token.KEYWORD:
        return this.#keyword(this.#at++);
      default:
        return fail('expecting value');
    }
  }

  #peek(): number {
    const { count, types } = this.#tokens;
    return this.#at < count ? (types[this.#at] as number) : fail('premature EOI');
  }

  #next(): number {
    const type = this.#peek();
    this.#at++;
    return type;
  }

  #object(): JsonValue {
    this.#at++;
    const members: Array<[string, JsonValue]> = [];
    const names = new Set<string>();
    if (this.#peek() === Token.RCURLY) {
      this.#at++;
      return jsonObject(members);
    }
    do {
      this.#peek();
      const name = this.value();
      if (typeof name !== 'string') fail('key is not a string in object');
      if (this.#next() !== Token.COLON) fail('missing : in object pair');
      const value = this.value();
      if (names.has(name)) fail('duplicate key');
      names.add(name);
      members.push([name, value]);
    } while (this.#separator(Token.RCURLY, 'expected separator in dict'));
    return jsonObject(members);
  }

  #array(): JsonValue {
    this.#at++;
    const items: JsonValue[] = [];
    if (this.#peek() === Token.RSQUARE) {
      this.#at++;
      return items;
    }
    do items.push(this.value());
    while (this.#separator(Token.RSQUARE, 'expected separator in list'));
    return items;
  }

  /** Takes a comma (true) or the closing token (false). */
  #separator(close: number, message: string): boolean {
    const type = this.#next();
    if (type === close) return false;
    return type === Token.COMMA || fail(message);
  }

  #start(index: number): number {
    return index > 0 ? (this.#tokens.ends[index - 1] as number) : 0;
  }

  #ascii(index: number): string {
    return ascii(this.#tokens.text, this.#start(index), this.#tokens.ends[index] as number);
  }

  #keyword(index: number): JsonValue {
    const word = this.#ascii(index);
    if (word === 'true') return true;
    if (word === 'false') return false;
    if (word === 'null') return null;
    return fail(`invalid keyword '${word}'`.slice(0, MESSAGE_BYTES));
  }

  /** The value of a string token, quotes included in the token. */
  #string(index: number): string {
    const { text, ends } = this.#tokens;
    const close = (ends[index] as number) - 1;
    const open = this.#start(index) + 1;
    if (isPlainAscii(text, open, close, BACKSLASH)) return ascii(text, open, close);
    const builder = new StringBuilder();
    for (let at = open; at < close; ) {
      const offset = text.subarray(at, close).indexOf(BACKSLASH);
      const plainEnd = offset < 0 ? close : at + offset;
      if (!appendModifiedUtf8(builder, text, at, plainEnd, false)) fail('invalid UTF-8 sequence in string');
      if (plainEnd === close) break;
      const letter = text[plainEnd + 1] as number;
      if (letter === LETTER_U) {
        at = this.#unicodeEscape(plainEnd, close, builder);
      } else {
        builder.codepoint(ESCAPES.get(letter) ?? fail('invalid escape sequence in string'));
        at = plainEnd + 2;
      }
    }
    return builder.toString();
  }

  /** Decodes \uXXXX at `at`, or a surrogate pair of two; returns the offset after it. */
  #unicodeEscape(at: number, close: number, builder: StringBuilder): number {
    const { text } = this.#tokens;
    let cp = hex4(text, at + 2);
    let end = at + 6;
    if (cp >= 0xd800 && cp <= 0xdbff && text[end] === BACKSLASH && text[end + 1] === LETTER_U) {
      const low = hex4(text, end + 2);
      if (low >= 0xdc00 && low <= 0xdfff) {
        cp = 0x10000 + ((cp & 0x3ff) << 10) + (low & 0x3ff);
        end += 6;
      }
    }
    if (!isValidCodepoint(cp)) {
      const raw = decodeModifiedUtf8(text, at, Math.min(end, close + 1));
      fail(`${raw} is not a valid Unicode character`);
    }
    builder.codepoint(cp);
    return end;
  }
}

/** What a letter after a backslash stands for, both as code points. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  (['""', "''", '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t'] as const).map((pair) => [
    pair.charCodeAt(0),
    pair.charCodeAt(1),
  ]),
);

/** Four hexadecimal digits at `at`, or -1. A quote ends every string, so this never runs into the next token. */
function hex4(text: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const c = text[at + i] ?? 0;
    const lower = c | 0x20;
    if (c >= 0x30 && c <= 0x39) value = value * 16 + (c - 0x30);
    else if (lower >= 0x61 && lower <= 0x66) value = value * 16 + (lower - 0x57);
    else return -1;
  }
  return value;
}

/** An integer in [-2^63, 2^64) is a bigint; QEMU makes a double of any other. */
function parseInteger(token: string): JsonValue {
  if (token.length <= INTEGER_CHARS) {
    const value = BigInt(token);
    if (value >= INT64_MIN && value <= UINT64_MAX) return value;
  }
  return Number(token);
}
