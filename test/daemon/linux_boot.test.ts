/**
 * An unmodified Debian kernel on this host's KVM. Its boot log is long and each byte of it known: what is lost or comes twice when the guest moves
 * while it prints shows. How far the kernel gets is the host's business: where KVM emulates guest-kernel code it ends at the
 * first instruction that the emulator lacks, and the guest stops with `internal-error`.
 *
 * `test/nested/nest --kernel` fetches the kernel. As bzImage it has to unpack itself first, which takes minutes where its code is
 * emulated: it is booted where VMHOSTD_CI is set, or VMHOSTD_TEST_KERNEL names it (or any other kernel).
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import t from 'tap';
import { noKvm, TestDaemon } from '../helpers/daemons.js';
import { migrate } from '../helpers/migration.js';

const { env } = process;
const CACHE = env.VMHOSTD_NESTED_CACHE ?? join(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vmhostd/nested');
const FETCHED = [join(CACHE, 'vmlinux'), ...(env.VMHOSTD_CI ? [join(CACHE, 'vmlinuz')] : [])];
const KERNELS = env.VMHOSTD_TEST_KERNEL ? [env.VMHOSTD_TEST_KERNEL] : FETCHED;
const BOOT_MS = 400_000;
const MEMORY = 96;
/** The log begins while it is printed, not once the serial driver is there: `earlyprintk`. */
const APPEND = 'earlyprintk=ttyS0 console=ttyS0 reboot=k panic=-1';
/** Where the guest moves, and up to where its log is compared. */
const MOVE_BYTES = 1500;
const COMPARED_BYTES = 4096;

t.setTimeout(KERNELS.length * BOOT_MS);

/** What two boots of one kernel have in common: no times, and no figures of lines that tell what was measured. */
function masked(log: string): string {
  return log
    .replaceAll(/^\[ *\d+\.\d{6}\]/gm, '[time]')
    .split('\n')
    .map((line) => (/cycles|MHz|BogoMIPS/.test(line) ? line.replaceAll(/0x[0-9a-f]+|\d+/g, '#') : line))
    .join('\n');
}

/** Resolves once the guest, on its way over `daemons`, has printed `bytes`, or stopped for good. */
async function printed(daemons: readonly TestDaemon[], bytes: number): Promise<void> {
  const last = daemons.at(-1) as TestDaemon;
  const length = () => daemons.reduce((sum, daemon) => sum + daemon.text.length, 0);
  for (const deadline = performance.now() + BOOT_MS; length() < bytes; ) {
    if (performance.now() > deadline) throw new Error(`${length()} bytes of log, not ${bytes}, in ${BOOT_MS / 1000} s`);
    if ((await last.status()) === 'internal-error') return;
    // The next line, or after a second another look at whether there will be one.
    await last.line(/^/, { from: last.lines.length, timeoutMs: 1000 }).catch(() => undefined);
  }
}

for (const kernel of KERNELS) {
  const missing = existsSync(kernel) ? false : `${kernel} is not there: run test/nested/nest --kernel to fetch it`;
  t.test(
    `${basename(kernel)} of Debian moves while it prints its boot log, and not a byte of the log is lost or comes twice`,
    { skip: noKvm() || missing },
    async (t) => {
      const more = ['-kernel', kernel, '-append', APPEND];
      // One that stays, next to it: what the log should be.
      const [stays, source] = await Promise.all([
        TestDaemon.start(t, { memory: MEMORY, more }),
        TestDaemon.start(t, { memory: MEMORY, more }),
      ]);
      await printed([source], MOVE_BYTES);
      const { daemon: destination, uri } = await TestDaemon.destination(t, { memory: MEMORY, uri: 'tcp:127.0.0.1:0' });
      const info = await migrate(source, uri);
      t.equal(info.status, 'completed', info['error-desc'] ?? 'the migration completes');
      t.equal(await source.status(), 'postmigrate');
      const before = source.text;
      await Promise.all([printed([source, destination], COMPARED_BYTES), printed([stays], COMPARED_BYTES)]);
      t.equal(source.text, before, 'the source prints no more');
      t.ok(destination.text.length > 0, 'the destination prints');
      const moved = (source.text + destination.text).slice(0, COMPARED_BYTES + 1000);
      t.ok(moved.length >= COMPARED_BYTES, `4 kB of log, not ${moved.length} bytes`);
      // The two stopped at different places: as far as both go, less a line that one of them had begun.
      const a = masked(moved).split('\n');
      const b = masked(stays.text).split('\n');
      const lines = Math.min(a.length, b.length) - 1;
      t.same(a.slice(0, lines), b.slice(0, lines));
      t.ok(a.slice(0, lines).join('\n').length > MOVE_BYTES, 'the compared part goes beyond the move');
      t.comment(`moved after ${before.length} bytes of ${moved.length}; downtime ${info.downtime} ms`);
    },
  );
}
