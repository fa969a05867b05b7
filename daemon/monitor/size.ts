/** Sizes as QEMU writes them: `1.5G`, `0x1000`, `10M`. */

const SUFFIXES = 'bkmgtpe';

/**
 * Reads a size with its suffix, a power of 1024 (qemu_strtosz of util/cutils.c).
 * @param unit of a number without a suffix
 * @returns undefined for what is none, or is 2^64 or more
 */
export function parseSize(text: string, unit: bigint): bigint | undefined {
  const hex = /^\s*\+?(0[xX][0-9a-fA-F]+)$/.exec(text);
  if (hex) return bounded(BigInt(hex[1] as string) * unit);
  const [, whole, fraction = '', suffix] = /^\s*\+?([0-9]+)(?:\.([0-9]*))?([bkmgtpe]?)$/i.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const scale = suffix ? 1024n ** BigInt(SUFFIXES.indexOf(suffix.toLowerCase())) : unit;
  const rest = Number(`0.${fraction}0`);
  if (rest > 0 && scale === 1n) return undefined;
  return bounded(BigInt(whole) * scale + BigInt(Math.trunc(rest * Number(scale))));
}

const bounded = (size: bigint) => (size < 2n ** 64n ? size : undefined);
