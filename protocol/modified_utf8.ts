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

/**
 * Decodes bytes `start`..`end` to a string. Returns undefined at the first invalid sequence, or, with `replace`, puts
 * U+FFFD in its place.
 */
export function decodeModifiedUtf8(bytes: Uint8Array, start: number, end: number, replace: true): string;
export function decodeModifiedUtf8(bytes: Uint8Array, start: number, end: number, replace?: false): string | undefined;
export function decodeModifiedUtf8(bytes: Uint8Array, start: number, end: number, replace = false): string | undefined {
  const parts: string[] = [];
  let run = start;
  let at = start;
  while (at < end) {
    if ((bytes[at] as number) < 0x80) {
      at++;
      continue;
    }
    if (run < at) parts.push(ascii(bytes, run, at));
    let cp = decodeCodepoint(bytes, at, end);
    if (cp < 0) {
      if (!replace) return undefined;
      cp = 0xfffd;
    }
    parts.push(String.fromCodePoint(cp));
    at = run = next;
  }
  if (run < end) parts.push(ascii(bytes, run, end));
  return parts.length === 1 ? parts[0] : parts.join('');
}

/** Decodes bytes below 0x80. */
export function ascii(bytes: Uint8Array, start: number, end: number): string {
  return asciiDecoder.decode(bytes.subarray(start, end));
}

const asciiDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
