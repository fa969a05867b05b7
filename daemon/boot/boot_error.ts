/** Why a kernel or an initial RAM disk cannot be booted: one sentence that names the file, the cause and the value. */
export class BootError extends Error {
  override readonly name = 'BootError';
}

/** A number as error texts show addresses and sizes: `0x1000000`. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
