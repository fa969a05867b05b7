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
  const parts: string[] = [];
  write(value, pretty ? '\r\n' : undefined, parts);
  return parts.join('');
}

/** Writes `value`; `newline` is the line end and indentation of pretty output, undefined for compact output. */
function write(value: unknown, newline: string | undefined, parts: string[]): void {
  if (value === null) parts.push('null');
  else if (typeof value === 'string') parts.push(encodeString(value));
  else if (typeof value === 'boolean') parts.push(value ? 'true' : 'false');
  else if (typeof value === 'bigint') parts.push(value.toString());
  else if (typeof value === 'number') parts.push(encodeNumber(value));
  else if (Array.isArray(value))
    writeItems('[', ']', value, newline, parts, (item, inner) => write(item, inner, parts));
  else if (isJsonObject(value)) {
    const object: { [name: string]: unknown } = value;
    const names = qdictOrder(memberNames(object).filter((name) => object[name] !== undefined));
    writeItems('{', '}', names, newline, parts, (name, inner) => {
      parts.push(encodeString(name), ': ');
      write(object[name], inner, parts);
    });
  } else throw new TypeError(`a value of type ${typeof value} has no JSON form`);
}

function writeItems<T>(
  open: string,
  close: string,
  items: readonly T[],
  newline: string | undefined,
  parts: string[],
  item: (item: T, newline: string | undefined) => void,
): void {
  parts.push(open);
  const inner = newline === undefined ? undefined : `${newline}    `;
  let first = true;
  for (const each of items) {
    if (!first) parts.push(inner === undefined ? ', ' : ',');
    if (inner !== undefined) parts.push(inner);
    first = false;
    item(each, inner);
  }
  // Pretty output breaks the line even in an empty container.
  if (newline !== undefined) parts.push(newline);
  parts.push(close);
}

const BUCKETS = 512;

/** Names in the order QEMU walks a QDict: by bucket, and in a bucket the latest insertion first (qobject/qdict.c). */
export function qdictOrder(names: readonly string[]): string[] {
  if (names.length < 2) return [...names];
  return names
    .map((name, index) => ({ name, index, bucket: qdictBucket(name) }))
    .sort((a, b) => a.bucket - b.bucket || b.index - a.index)
    .map(({ name }) => name);
}

const utf8 = new TextEncoder();

/** Buckets already computed. Bounded, since clients may invent names in an `id`. */
const buckets = new Map<string, number>();
const MAX_BUCKETS = 4096;
const MAX_NAME = 64;

/** The bucket of a name. The schemas' names come again and again, so each is hashed once. */
export function qdictBucket(name: string): number {
  let bucket = buckets.get(name);
  if (bucket === undefined) {
    bucket = hashName(name);
    if (buckets.size < MAX_BUCKETS && name.length <= MAX_NAME) buckets.set(name, bucket);
  }
  return bucket;
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
