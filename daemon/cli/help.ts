/** What `vmhostd --help` prints: the tables of options, as text. */
import { noEffectWords } from './no_effect.js';
import { OPTIONS } from './options.js';

const INDENT = 27;

function entry(words: string, text: string): string {
  const head = `  ${words}`;
  const pad = ' '.repeat(INDENT);
  return head.length < INDENT ? `${head.padEnd(INDENT)}${text}\n` : `${head}\n${pad}${text}\n`;
}

/** The usage text. */
export function usage(): string {
  const options = Object.entries(OPTIONS).map(([name, { form, help }]) => entry(form ? `${name} ${form}` : name, help));
  const words = noEffectWords().map(({ words, why }) => entry(words, why));
  return `usage: vmhostd [options]

A VM host daemon on /dev/kvm. Options are QEMU's own, with one dash or two.

${options.join('')}  -version  -help

Accepted without any effect, for scripts written for QEMU:

${words.join('')}
VMHOSTD_LOG=info (debug, warn, error) sets what is logged on standard error.
`;
}
