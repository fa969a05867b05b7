/** An unmodified Debian kernel: boots, stops, goes on, survives a destination's death, and is migrated twice in a row. */
import assert from 'node:assert/strict';
import { figures, migrate, migrationEnd, type Policy, startDestination, type Transport } from './migrate.js';
import type { Report } from './report.js';
import { VmDaemon } from './vm_daemon.js';

export interface LinuxScenario {
  /** How it is called in titles. */
  kernelName: string;
  kernel: string;
  initrd: string;
  dir: string;
  /** A destination is killed in the live stage before the first migration. */
  killDestination: boolean;
  migrations: readonly { transport: Transport; policy: Policy }[];
}

/**
 * - `quiet`: errors only between the guest's own lines.
 * - `reboot=k panic=-1`: a guest that dies resets through the i8042 at once, and is not waited for.
 *
 * Two make up for what QEMU's emulation lacks, and are not needed on real processors:
 * - `noxsave`: it does not intercept XSETBV, so KVM in the nest never learns which register sets the guest turned on, and turns
 *   them off at each entry. Without XSAVE the guest uses FXSAVE, which needs no XCR0.
 * - `nolapic`: it drops a requested interrupt window while the guest's task priority is not 0 (QEMU 7.2,
 *   target/i386/tcg/sysemu/svm_helper.c, ctl_has_irq), and a kernel that uses its APIC keeps it at 0x10. An interrupt of the PIC that comes
 *   while the guest has interrupts off is then never delivered, and with it no other: one boot in four stood still for ever.
 *
 * Nothing need be said of ACPI, PCI, the IO-APIC or the clock: the kernel finds neither ACPI nor MP tables, keeps to the PIC and
 * the PIT (even with its APIC on), and takes the time from kvmclock.
 */
const APPEND = 'console=ttyS0 quiet reboot=k panic=-1 noxsave nolapic';
const MACHINE = ['-m', '128', '-no-reboot'];
const BOOT_MS = 120_000;
const TICK_MS = 30_000;
/** Three ticks would come in this time. */
const SILENCE_MS = 3500;
/** A tenth of a second's worth of this machine's memory bandwidth: the live stage lasts. */
const SLOW_BYTES_PER_SECOND = 2 ** 20;

/** Numbers of the ticks in `text`, of whole lines only. */
const ticks = (text: string): number[] => [...text.matchAll(/^tick (\d+)$\n/gm)].map((match) => Number(match[1]));
const lastTick = (text: string): number => ticks(text).at(-1) ?? 0;

export async function linuxGuest(report: Report, scenario: LinuxScenario): Promise<void> {
  const { kernelName, dir } = scenario;
  const daemons: VmDaemon[] = [];
  const current = (): VmDaemon => daemons.at(-1) as VmDaemon;
  const name = (): string => `${kernelName.replaceAll(/\W/g, '-')}-${daemons.length}`;
  // What each daemon wrote, one after the other, is what the guest wrote.
  const log = (): string => daemons.map((daemon) => daemon.serial.text).join('');
  const step = (title: string, body: () => Promise<void>): Promise<boolean> =>
    report.check(`${kernelName} ${title}`, body, () => daemons.map((daemon) => daemon.diagnosis()).join('\n'));
  const tick = (n: number): Promise<unknown> =>
    current().serial.wait(`tick ${n}`, () => (lastTick(log()) >= n ? true : undefined), TICK_MS);
  /** All ticks so far are 1, 2, 3, … */
  const assertUnbroken = (): void => {
    const seen = ticks(log());
    assert.deepEqual(
      seen,
      seen.map((_, i) => i + 1),
    );
  };

  const steps: (() => Promise<boolean>)[] = [];
  steps.push(() =>
    step('boots to user space and ticks', async () => {
      const args = [...MACHINE, '-kernel', scenario.kernel, '-initrd', scenario.initrd, '-append', APPEND];
      daemons.push(await VmDaemon.start({ dir, name: name(), args, serial: 'file' }));
      await current().serial.wait('GUEST-UP', (text) => /^GUEST-UP cpus=1$/m.test(text) || undefined, BOOT_MS);
      await tick(2);
      assertUnbroken();
    }),
  );
  steps.push(() =>
    step('stops ticking on stop, and goes on with the next tick on cont', async () => {
      const { qmp } = current();
      await qmp.execute('stop');
      assert.equal((await qmp.execute('query-status')).status, 'paused');
      const stopped = log();
      await new Promise((resolve) => setTimeout(resolve, SILENCE_MS));
      assert.equal(log(), stopped, 'it wrote while it was paused');
      await qmp.execute('cont');
      assert.equal((await qmp.execute('query-status')).status, 'running');
      await tick(lastTick(stopped) + 2);
      assertUnbroken();
    }),
  );
  if (scenario.killDestination) {
    steps.push(() =>
      step('ticks on at the source when the destination is killed in the live stage', killedDestination),
    );
  }
  async function killedDestination(): Promise<void> {
    const source = current();
    const { qmp } = source;
    const { destination, uri } = await startDestination(
      { dir, name: `${name()}-killed`, args: MACHINE, serial: 'file' },
      'tcp',
    );
    await using _ = destination;
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': SLOW_BYTES_PER_SECOND });
    const pass = qmp.waitFor('MIGRATION', ({ status }) => status === 'active', { timeoutMs: TICK_MS });
    const info = await migrationEnd(source, async () => {
      await qmp.execute('migrate', { uri });
      await pass;
      // Well inside the live stage: some of the memory is there, and most is not.
      for (;;) {
        const { ram, status } = await qmp.execute('query-migrate');
        assert.equal(status, 'active');
        if (Number(ram?.transferred ?? 0) > SLOW_BYTES_PER_SECOND) break;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await destination.kill();
    });
    assert.equal(info.status, 'failed');
    assert.ok(info['error-desc'], 'it does not say why');
    report.note(info['error-desc']);
    assert.equal((await qmp.execute('query-status')).status, 'running');
    assert.equal(destination.serial.text, '', 'the destination ran the guest');
    await tick(lastTick(log()) + 2);
    assertUnbroken();
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  }
  for (const { transport, policy } of scenario.migrations) {
    steps.push(() =>
      step(
        `is migrated over ${transport} with ${policy}: ticks go on without a gap, the source is postmigrate`,
        async () => {
          const source = current();
          const { destination, uri } = await startDestination(
            { dir, name: name(), args: MACHINE, serial: 'file' },
            transport,
          );
          daemons.push(destination);
          report.note(figures(await migrate(source, destination, uri, policy)));
          const written = source.serial.text;
          await tick(lastTick(log()) + 3);
          assertUnbroken();
          assert.equal(source.serial.text, written, 'the source wrote on after the migration');
          await source[Symbol.asyncDispose]();
        },
      ),
    );
  }
  try {
    // What follows a failure could tell nothing.
    for (const run of steps) if (!(await run())) return;
  } finally {
    await Promise.all(daemons.map((daemon) => daemon[Symbol.asyncDispose]()));
  }
}
