import { isJsonObject, memberNames } from './json_value.js';

/**
 * What can be written: JSON values, with integers as `number` or `bigint`. Members that are undefined are left out.
 * Anything else (a function, a symbol) is a TypeError.
 */
export interface WriteOptions {
  /** One member or item a line, indented by four spaces, lines ending in `\r\n` (QEMU's pretty=on). */
  readonly pretty?: boolean;
}

/** Encodes a value as QEMU 7.2 does: ASCII only, members in QDict order. There is no line end after it. */
export function encodeJson(value: unknown, { pretty = false }: WriteOptions = {}): string {
  return encode(value, pretty ? '\r\n' : undefined);
}

/** Encodes `value`; `newline` is the line end and indentation of pretty output, undefined for compact output. */
function encode(value: unknown, newline: string | undefined): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return encodeString(value);
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return encodeNumber(value);
  const inner = newline === undefined ? undefined : `${newline}    `;
  const separator = inner === undefined ? ', ' : `,${inner}`;
  // Every query's reply comes through here: what is left behind for the garbage collector is kept small.
  let text = '';
  if (Array.isArray(value)) {
    for (const item of value) text += (text === '' ? (inner ?? '') : separator) + encode(item, inner);
    // Pretty output breaks the line even in an empty container.
    return `[${text}${newline ?? ''}]`;
  }
  if (!isJsonObject(value)) throw new TypeError(`a value of type ${typeof value} has no JSON form`);
  const object: { [name: string]: unknown } = value;
  for (const name of qdictOrder(memberNames(object))) {
    const member = object[name];
    if (member === undefined) continue;
    text += `${text === '' ? (inner ?? '') : separator}${nameEntry(name).text}: ${encode(member, inner)}`;
  }
  return `{${text}${newline ?? ''}}`;
}

const BUCKETS = 512;

/** Names in the order QEMU walks a QDict: by bucket, and in a bucket the latest insertion first (qobject/qdict.c). */
export function qdictOrder(names: readonly string[]): string[] {
  if (names.length > MAX_INSERTED) {
    return names.toReversed().sort((a, b) => qdictBucket(a) - qdictBucket(b));
  }
  const ordered: string[] = [];
  for (const name of names) {
    const bucket = qdictBucket(name);
    let at = ordered.length;
    for (; at > 0 && qdictBucket(ordered[at - 1] as string) >= bucket; at--) ordered[at] = ordered[at - 1] as string;
    ordered[at] = name;
  }
  return ordered;
}

/** Members up to which insertion, whose cost grows with their square, is the cheaper way. */
const MAX_INSERTED = 64;

const utf8 = new TextEncoder();

interface NameEntry {
  /** The bucket of a QDict that the name falls into. */
  readonly bucket: number;
  /** The name as JSON text. */
  readonly text: string;
}

/** Names that came before. Bounded, since clients may invent names in an `id`. */
const entries = new Map<string, NameEntry>();
const MAX_ENTRIES = 4096;
const MAX_NAME = 64;

/** The schemas' names come again and again, so each is hashed and encoded once. */
function nameEntry(name: string): NameEntry {
  let entry = entries.get(name);
  if (entry === undefined) {
    entry = { bucket: hashName(name), text: encodeString(name) };
    if (entries.size < MAX_ENTRIES && name.length <= MAX_NAME) entries.set(name, entry);
  }
  return entry;
}

/** The bucket of a name. */
export function qdictBucket(name: string): number {
  return nameEntry(name).bucket;
}

/** The hash function of the trivial database (tdb), over modified UTF-8. */
function hashName(name: string): number {
  const bytes = utf8.encode(name);
  // NUL is C0 80, because a QDict key is a C string.
  const key = name.includes('\0') ? [...bytes].flatMap((byte) => (byte === 0 ? [0xc0, 0x80] : [byte])) : bytes;
  let hash = Math.imul(0x238f13af, key.length);
  for (let i = 0; i < key.length; i++) hash = (hash + ((key[i] as number) << ((i * 5) % 24))) | 0;
  return ((Math.imul(1103515243, hash) + 12345) >>> 0) % BUCKETS;
}

const SHORT_ESCAPES: { readonly [c: string]: string | undefined } = Object.assign(Object.create(null), {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
});

/** Everything that is not printable ASCII, and the two characters that delimit and escape. */
const SPECIAL = /[^ !#-[\]-~]/g;

function encodeString(text: string): string {
  const body = text.replace(SPECIAL, (c) => SHORT_ESCAPES[c] ?? escapeUnit(c.charCodeAt(0)));
  return `"${body}"`;
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).toUpperCase().padStart(4, '0')}`;
}

function encodeNumber(value: number): string {
  return Number.isSafeInteger(value) && !Object.is(value, -0) ? value.toString() : formatDouble(value);
}

/** Significant digits of C's %.17g. */
const DIGITS = 17;

/** C's printf("%.17g"), which rounds exact ties to even where JavaScript rounds them up. */
export function formatDouble(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  if (value === 0) return `${sign}0`;
  // More digits than any tie at the 18th can have; the rounding below is then exact.
  const [mantissa, exponentText] = Math.abs(value).toExponential(60).split('e') as [string, string];
  let exponent = Number(exponentText);
  let digits = mantissa.replace('.', '');
  const rest = digits.slice(DIGITS);
  digits = digits.slice(0, DIGITS);
  const half = `5${'0'.repeat(rest.length - 1)}`;
  const odd = Number(digits[DIGITS - 1]) % 2 === 1;
  if (rest > half || (rest === half && odd)) {
    digits = (BigInt(digits) + 1n).toString();
    if (digits.length > DIGITS) exponent++;
  }
  digits = digits.slice(0, DIGITS).replace(/0+$/, '');
  if (exponent < -4 || exponent >= DIGITS) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    const size = Math.abs(exponent).toString().padStart(2, '0');
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  const fraction = digits.slice(exponent + 1);
  return `${sign}${whole}${fraction ? `.${fraction}` : ''}`;
}
