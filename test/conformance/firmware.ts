import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';

/** Bytes of the ROM, which ends where the processor starts. */
const ROM_BYTES = 0x10000;
const RESET_VECTOR = 0xfff0;

/** Assembles 16-bit code into a ROM that runs it at reset. */
export function assembleFirmware(code: string, path: string): void {
  const source = `.code16\n.text\nfirmware:\n${code}\n.org ${RESET_VECTOR}\njmp firmware\n.org ${ROM_BYTES}\n`;
  writeFileSync(`${path}.s`, source);
  execFileSync('as', ['--32', '-o', `${path}.o`, `${path}.s`]);
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', `${path}.o`, path]);
  rmSync(`${path}.o`);
  rmSync(`${path}.s`);
}
