/** What is run inside the nest: Linux guests and the built-in one, by QMP over real sockets. Prints TAP; the exit status tells. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtInGuest } from './built_in_guest.js';
import { linuxGuest } from './linux_guest.js';
import { Report } from './report.js';

/** Where the nest keeps what its guests boot. */
const GUEST = '/guest';
const IMAGE = fileURLToPath(new URL('../../../guest/vmguest.elf', import.meta.url));

const dir = mkdtempSync(join(tmpdir(), 'vmhostd-nested-'));
const report = new Report((line) => process.stdout.write(`${line}\n`));
try {
  await linuxGuest(report, {
    kernelName: "Debian's kernel as bzImage",
    kernel: `${GUEST}/vmlinuz`,
    initrd: `${GUEST}/initrd`,
    dir,
    killDestination: false,
    migrations: [
      { transport: 'tcp', policy: 'MPLM' },
      { transport: 'unix', policy: 'classic pre-copy' },
    ],
  });
  await linuxGuest(report, {
    kernelName: "Debian's kernel as PVH ELF",
    kernel: `${GUEST}/vmlinux`,
    initrd: `${GUEST}/initrd`,
    dir,
    killDestination: true,
    migrations: [
      { transport: 'tcp', policy: 'classic pre-copy' },
      { transport: 'unix', policy: 'MPLM' },
    ],
  });
  await builtInGuest(report, { image: IMAGE, dir });
} finally {
  rmSync(dir, { recursive: true, force: true });
  report.end();
}
process.exitCode = report.failed > 0 ? 1 : 0;
