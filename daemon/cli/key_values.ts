/** The arguments of one option: QEMU's `key=value,key=value` or, where QEMU takes it, a JSON object. */
import { NO_EFFECT } from './no_effect.js';
import { parseBoolean, parseNumber, UsageError } from './values.js';

/** Commas that separate; two in a row are one comma of the value. */
function splitCommas(text: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ',') part += text[i];
    else if (text[i + 1] === ',') {
      part += ',';
      i++;
    } else {
      parts.push(part);
      part = '';
    }
  }
  if (part !== '') parts.push(part);
  return parts;
}

/** A scalar of a JSON argument as it would be written in the other form. */
function scalar(option: string, key: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw new UsageError(`${option} ${key}: ${JSON.stringify(value)} is not supported`);
}

/**
 * Who reads an option takes the keys it knows, then calls `finish`: what is left is listed in the table of words without effect, or refused by name.
 * A key that is given twice has its last value, as in QEMU.
 */
export class KeyValues {
  readonly option: string;
  readonly #left: Map<string, string>;

  private constructor(option: string, values: Map<string, string>) {
    this.option = option;
    this.#left = values;
  }

  /**
   * Parses QemuOpts syntax (util/qemu-option.c): `,,` is a comma in a value; a word without `=` is the value of the `implied` key when it comes first, else
   * a boolean that is on, or off if it begins with `no`.
   */
  static parse(option: string, text: string, implied?: string): KeyValues {
    const values = new Map<string, string>();
    for (const [i, part] of splitCommas(text).entries()) {
      const at = part.indexOf('=');
      if (at >= 0) values.set(part.slice(0, at), part.slice(at + 1));
      else if (i === 0 && implied !== undefined) values.set(implied, part);
      else if (part.startsWith('no')) values.set(part.slice(2), 'off');
      else values.set(part, 'on');
    }
    return new KeyValues(option, values);
  }

  /** Parses either form: an argument that begins with `{` is JSON. @throws UsageError for JSON that is no object of scalars */
  static parseOrJson(option: string, text: string, implied: string): KeyValues {
    if (!text.startsWith('{')) return KeyValues.parse(option, text, implied);
    let object: object;
    try {
      object = JSON.parse(text);
    } catch (cause) {
      throw new UsageError(`${option}: '${text}' is no JSON: ${(cause as Error).message}`);
    }
    return new KeyValues(
      option,
      new Map(Object.entries(object).map(([key, value]) => [key, scalar(option, key, value)])),
    );
  }

  /** The value of a key that the caller knows. */
  take(key: string): string | undefined {
    const value = this.#left.get(key);
    this.#left.delete(key);
    return value;
  }

  /** @throws UsageError when it is absent or empty */
  required(key: string): string {
    const value = this.take(key);
    if (value === undefined || value === '') throw new UsageError(`${this.option}: '${key}=' is missing`);
    return value;
  }

  boolean(key: string, absent: boolean): boolean {
    const value = this.take(key);
    return value === undefined ? absent : parseBoolean(`${this.option} ${key}`, value);
  }

  number<D extends number | undefined>(key: string, { min, max, absent }: { min: number; max: number; absent: D }) {
    const value = this.take(key);
    return value === undefined ? absent : parseNumber(`${this.option} ${key}`, value, min, max);
  }

  /** One of the words `among`. */
  word<W extends string>(key: string, among: readonly W[], absent: W): W {
    const value = this.take(key);
    if (value === undefined) return absent;
    if ((among as readonly string[]).includes(value)) return value as W;
    throw new UsageError(`${this.option} ${key}: '${value}' is none of ${among.join(', ')}`);
  }

  /** @throws UsageError naming the first word that nobody took and that is not known to mean nothing here */
  finish(): void {
    const keys = NO_EFFECT[this.option]?.keys ?? {};
    for (const [key, value] of this.#left) {
      const known = Object.hasOwn(keys, key) ? keys[key] : undefined;
      if (!known) throw new UsageError(`${this.option}: '${key}=${value}' is not supported`);
      if (known.values && !known.values.includes(value)) {
        throw new UsageError(
          `${this.option}: '${key}=${value}' is not supported, only '${known.values.join("', '")}': ${known.why}`,
        );
      }
    }
  }
}
