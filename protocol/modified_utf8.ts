// Modified UTF-8 as QEMU reads it (util/unicode.c): NUL is also C0 80; surrogates, noncharacters, overlong forms and
// anything above U+10FFFF are invalid.

/** Smallest code point that a sequence of 2..6 bytes may encode. */
const MINIMUM = [0x80, 0x800, 0x10000, 0x200000, 0x4000000];

/** True for a code point that a string may hold: a Unicode scalar value that is not a noncharacter. */
export function isValidCodepoint(cp: number): boolean {
  if (cp < 0 || cp > 0x10ffff) return false;
  if (cp >= 0xd800 && cp <= 0xdfff) return false;
  return !(cp >= 0xfdd0 && cp <= 0xfdef) && (cp & 0xfffe) !== 0xfffe;
}

/** Where the last call of `decodeCodepoint` stopped: the offset after the bytes it used. */
let next = 0;

/** Decodes one code point at `at`; -1 when invalid. `next` is then past the bytes that belong together. */
function decodeCodepoint(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at] as number;
  next = at + 1;
  if (first < 0x80) return first;
  if (first >= 0xfe || (first & 0x40) === 0) return -1; // impossible byte, or a continuation without a start
  let length = 2;
  while (first & (0x80 >> length)) length++;
  let cp = first & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const byte = next < end ? (bytes[next] as number) : 0;
    if ((byte & 0xc0) !== 0x80) return -1;
    next++;
    // A multiplication, because a sequence of six bytes exceeds 31 bits.
    cp = cp * 64 + (byte & 0x3f);
  }
  if (!isValidCodepoint(cp)) return -1;
  if (cp < (MINIMUM[length - 2] as number) && !(cp === 0 && length === 2)) return -1;
  return cp;
}

/** Code units joined to a string in one go; a list of single characters would take many times the room. */
const BLOCK_UNITS = 4096;

/** Collects code points into a string, in memory that is in proportion to it. */
export class StringBuilder {
  readonly #units = new Uint16Array(BLOCK_UNITS);
  #length = 0;
  #text = '';

  codepoint(cp: number): void {
    if (this.#length > BLOCK_UNITS - 2) this.#flush();
    if (cp > 0xffff) {
      this.#units[this.#length++] = 0xd800 + ((cp - 0x10000) >> 10);
      this.#units[this.#length++] = 0xdc00 + ((cp - 0x10000) & 0x3ff);
    } else this.#units[this.#length++] = cp;
  }

  toString(): string {
    this.#flush();
    return this.#text;
  }

  #flush(): void {
    this.#text += String.fromCharCode.apply(null, this.#units.subarray(0, this.#length) as unknown as number[]);
    this.#length = 0;
  }
}

/** Appends bytes `start`..`end` to a string; false at the first invalid sequence, or U+FFFD in its place. */
export function appendModifiedUtf8(
  to: StringBuilder,
  bytes: Uint8Array,
  start: number,
  end: number,
  replace: boolean,
): boolean {
  for (let at = start; at < end; at = next) {
    const cp = decodeCodepoint(bytes, at, end);
    if (cp < 0 && !replace) return false;
    to.codepoint(cp < 0 ? 0xfffd : cp);
  }
  return true;
}

/** Decodes bytes `start`..`end` to a string, with U+FFFD for each invalid sequence. */
export function decodeModifiedUtf8(bytes: Uint8Array, start: number, end: number): string {
  const builder = new StringBuilder();
  appendModifiedUtf8(builder, bytes, start, end, true);
  return builder.toString();
}

/** True when all bytes `start`..`end` are below 0x80 and none is `except`. */
export function isPlainAscii(bytes: Uint8Array, start: number, end: number, except: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte >= 0x80 || byte === except) return false;
  }
  return true;
}

/** Decodes bytes below 0x80. */
export function ascii(bytes: Uint8Array, start: number, end: number): string {
  return asciiDecoder.decode(bytes.subarray(start, end));
}

const asciiDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
