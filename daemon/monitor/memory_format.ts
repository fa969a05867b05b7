/** `/FMT` of `x`, `xp` and `print`: a count, a format letter and a size letter, and what they make of a value. */
import { HmpSyntaxError, type Scanner } from './scanner.js';

export type FormatLetter = 'o' | 'd' | 'u' | 'x' | 'i' | 'c';

export interface MemoryFormat {
  /** How many items. */
  readonly count: number;
  readonly letter: FormatLetter;
  /** Bytes an item: 1, 2, 4 or 8. */
  readonly bytes: number;
}

const LETTERS = 'oduxic';
const SIZES: Readonly<Record<string, number>> = { b: 1, h: 2, w: 4, g: 8, L: 8 };

/** Remembers the last format, of whichever command and monitor, as QEMU does. */
export class MemoryFormatMemory {
  #letter: FormatLetter = 'x';
  #bytes = 4;

  /** Reads `/FMT` where there is one. @throws HmpSyntaxError */
  read(scan: Scanner): MemoryFormat {
    let count = 1;
    if (scan.next === '/') {
      scan.at++;
      const digits = scan.take(/[0-9]+/y);
      if (digits !== undefined) count = Number(BigInt.asIntN(32, BigInt(digits)));
      const letters = scan.take(/[oduxicbhwgL]*/y) as string;
      if (!scan.atEnd && !/[ \t\n\v\f\r]/.test(scan.next)) {
        throw new HmpSyntaxError(`invalid char in format: '${scan.next}'`);
      }
      for (const letter of letters) {
        if (LETTERS.includes(letter)) this.#letter = letter as FormatLetter;
        else this.#bytes = SIZES[letter] as number;
      }
    }
    return { count, letter: this.#letter, bytes: this.#bytes };
  }
}

/** C's `%#o` and `%#x`: a prefix, but not for 0. */
const prefixed = (prefix: string, digits: string) => (digits === '0' ? digits : prefix + digits);

/** Widest item of a format, for columns. */
function width({ letter, bytes }: MemoryFormat): number {
  if (letter === 'o') return Math.ceil((bytes * 8) / 3);
  return letter === 'x' ? bytes * 2 : Math.ceil((bytes * 80) / 33);
}

/** One item of a memory dump, without the space before it. @param value unsigned */
export function formatItem(format: MemoryFormat, value: bigint): string {
  switch (format.letter) {
    case 'o':
      return prefixed('0', value.toString(8)).padStart(width(format));
    case 'x':
      return `0x${value.toString(16).padStart(width(format), '0')}`;
    case 'c':
      return formatCharacter(Number(value));
    default:
      // Items of less than 64 bits are not sign-extended, in `d` too.
      return (format.letter === 'd' ? BigInt.asIntN(64, value) : value).toString().padStart(width(format));
  }
}

/** What `print` shows of a value. @param value int64 */
export function formatValue(letter: FormatLetter, value: bigint): string {
  const unsigned = BigInt.asUintN(64, value);
  switch (letter) {
    case 'o':
      return prefixed('0', unsigned.toString(8));
    case 'x':
      return prefixed('0x', unsigned.toString(16));
    case 'u':
      return unsigned.toString();
    case 'c':
      return formatCharacter(Number(BigInt.asUintN(32, value)));
    default:
      return value.toString();
  }
}

/** A character constant as C writes it. */
function formatCharacter(code: number): string {
  const char = String.fromCharCode(code);
  if (char === "'" || char === '\\') return `'\\${char}'`;
  if (char === '\n') return "'\\n'";
  if (char === '\r') return "'\\r'";
  if (code >= 32 && code <= 126) return `'${char}'`;
  return `'\\x${code.toString(16).padStart(2, '0')}'`;
}
