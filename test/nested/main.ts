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

/** The emulation loses an interrupt or a process now and then: a scenario that fails is shown, and made again from its start. */
const ATTEMPTS = 3;

async function scenario(run: (own: Report) => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const lines: string[] = [];
    const own = new Report((line) => lines.push(line), report.count);
    await run(own);
    if (own.failed === 0 || attempt === ATTEMPTS) {
      report.add(own, lines);
      return;
    }
    report.note(`attempt ${attempt} failed:\n${lines.join('\n')}`);
  }
}

try {
  await scenario((own) =>
    linuxGuest(own, {
      kernelName: "Debian's kernel as bzImage",
      kernel: `${GUEST}/vmlinuz`,
      initrd: `${GUEST}/initrd`,
      dir,
      killDestination: false,
      migrations: [
        { transport: 'tcp', policy: 'MPLM' },
        { transport: 'unix', policy: 'classic pre-copy' },
      ],
    }),
  );
  await scenario((own) =>
    linuxGuest(own, {
      kernelName: "Debian's kernel as PVH ELF",
      kernel: `${GUEST}/vmlinux`,
      initrd: `${GUEST}/initrd`,
      dir,
      killDestination: true,
      migrations: [
        { transport: 'tcp', policy: 'classic pre-copy' },
        { transport: 'unix', policy: 'MPLM' },
      ],
    }),
  );
  await scenario((own) => builtInGuest(own, { image: IMAGE, dir }));
} finally {
  rmSync(dir, { recursive: true, force: true });
  report.end();
}
process.exitCode = report.failed > 0 ? 1 : 0;
