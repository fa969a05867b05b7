/** Values on the command line. */

/** What is wrong with the command line: one sentence, with the option and the value. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/**
 * QEMU's `key=value,key=value`; the first may be given without its key, and a key without value means `on` (`nokey`: off).
 * @throws UsageError for an unknown key
 */
export function keyValues<K extends string>(
  option: string,
  text: string,
  first: K,
  known: readonly K[],
): Partial<Record<K, string>> {
  const out: Partial<Record<K, string>> = {};
  for (const [i, part] of text.split(',').entries()) {
    const at = part.indexOf('=');
    if (at < 0 && i === 0 && !(known as readonly string[]).slice(1).includes(part) && part !== first) {
      out[first] = part;
      continue;
    }
    let key = at < 0 ? part : part.slice(0, at);
    let value = at < 0 ? 'on' : part.slice(at + 1);
    if (at < 0 && key.startsWith('no') && (known as readonly string[]).includes(key.slice(2))) {
      key = key.slice(2);
      value = 'off';
    }
    if (!(known as readonly string[]).includes(key)) throw new UsageError(`${option}: '${part}' is not supported`);
    out[key as K] = value;
  }
  return out;
}

/** @throws UsageError */
export function parseBoolean(option: string, text: string): boolean {
  if (text === 'on' || text === 'yes' || text === 'true') return true;
  if (text === 'off' || text === 'no' || text === 'false') return false;
  throw new UsageError(`${option}: '${text}' is neither on nor off`);
}

/** A decimal or 0x number. @throws UsageError */
export function parseNumber(option: string, text: string, min: number, max: number): number {
  const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw new UsageError(`${option}: '${text}' is no number from ${min} to ${max}`);
  return value;
}

/** A size in bytes: MiB without a suffix, else K, M, G or T. A multiple of 1 MiB. @throws UsageError */
export function parseMemory(option: string, text: string, max: number): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)B?$/i.exec(text);
  const unit = { K: 2 ** 10, '': 2 ** 20, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[(match?.[2] ?? '').toUpperCase()];
  const bytes = match && unit ? Number(match[1]) * unit : Number.NaN;
  if (!(bytes >= 2 ** 20 && bytes <= max) || bytes % 2 ** 20 !== 0) {
    throw new UsageError(`${option}: '${text}' is no size of memory: whole MiB, from 1M to ${max / 2 ** 40}T`);
  }
  return bytes;
}
