/** Firmware images for tests: 16-bit code that the first vCPU runs from reset. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestScope } from './daemons.js';

const ROM_BYTES = 0x10000;
/** `jmp 0`, at the reset vector. */
const JUMP = [0xe9, 0x0d, 0x00];
/** `1: cli; hlt; jmp 1b` */
export const HALT = [0xfa, 0xf4, 0xeb, 0xfc];

/** `mov $port, %dx; mov $value, %al; out %al, %dx` */
export function outb(port: number, value: number): number[] {
  return [0xba, port & 0xff, port >> 8, 0xb0, value, 0xee];
}

/** An image of 64 KiB that runs `code`, and then halts; `data` are more bytes of it, by their offset. */
export function romImage(code: readonly number[], data: Record<number, number> = {}): Uint8Array {
  const image = new Uint8Array(ROM_BYTES);
  image.set([...code, ...HALT]);
  image.set(JUMP, 0xfff0);
  for (const [at, byte] of Object.entries(data)) image[Number(at)] = byte;
  return image;
}

/** The path of a file with that image, which is gone when the test is. */
export function romFile(t: TestScope, ...image: Parameters<typeof romImage>): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-rom-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'rom');
  writeFileSync(path, romImage(...image));
  return path;
}
