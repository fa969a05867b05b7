/** Values on the command line. */

/** What is wrong with the command line: one sentence, with the option and the value. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
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
