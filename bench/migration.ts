/** `npm run bench`: the same guest, migrated by vmhostd and by QEMU in turns. See bench/README.md. */
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import type { VmProcess } from '../demo/vm_process.js';
import { qemuVersion } from './hosts.js';
import { type Into, loopbackRate } from './loopback.js';
import { type Figures, measure } from './measure.js';
import { type BenchOptions, HELP, parseOptions } from './options.js';
import { median, scenarioReport } from './report.js';

const KVM = '/dev/kvm';
const LOOPBACK_BYTES = 2 ** 30;
const LOOPBACK_RUNS = 3;

async function main(options: BenchOptions): Promise<void> {
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  try {
    accessSync(KVM, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new Error(`the bench needs KVM, and ${KVM} cannot be opened`, { cause });
  }
  const qemu = qemuVersion();
  if (qemu === undefined) {
    throw new Error("there is no QEMU to compare with; install it ('sudo apt-get install qemu-system-x86')");
  }
  const vms = new Set<VmProcess>();
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-bench-'));
  process.once('exit', () => {
    for (const vm of vms) vm.killNow();
    rmSync(dir, { recursive: true, force: true });
  });
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => process.exit(code));
  }
  const machine = {
    kernel: release(),
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memory: totalmem(),
    node: process.version,
    qemu,
  };
  console.log(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, ${qemu}`);

  const floor: Record<Into, number> = { 'one buffer': 0, 'fresh memory': 0 };
  for (const into of ['one buffer', 'fresh memory'] as const) {
    const rates: number[] = [];
    for (let i = 0; i < LOOPBACK_RUNS; i++) rates.push(await loopbackRate(LOOPBACK_BYTES, into));
    floor[into] = median(rates);
    console.log(`TCP loopback, plain send and recv into ${into}: ${Math.round(floor[into] / 2 ** 20)} MiB/s`);
  }
  console.log(
    `Migrations by TCP loopback, no limit of bandwidth; ${options.pairs} by each, in turns; vmhostd: ${options.policy}\n`,
  );

  const figures: Figures[] = [];
  for (const scenario of options.scenarios) {
    for (let pair = 1; pair <= options.pairs; pair++) {
      for (const host of ['vmhostd', 'QEMU'] as const) {
        if (process.stderr.isTTY)
          process.stderr.write(`\r${scenario.name}: pair ${pair} of ${options.pairs}, ${host}\x1b[K`);
        const onSpawn = (vm: VmProcess) => vms.add(vm);
        const { timeoutMs, policy } = options;
        figures.push(await measure(host, scenario, { dir, timeoutMs, policy, onSpawn }));
        vms.clear();
      }
    }
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    console.log(scenarioReport(scenario, figures, options.timeoutMs));
  }
  if (options.json !== undefined) {
    const result = {
      date: new Date().toISOString(),
      machine,
      policy: options.policy,
      loopbackBytesPerSecond: floor,
      figures,
    };
    writeFileSync(options.json, `${JSON.stringify(result, undefined, 1)}\n`);
  }
}

try {
  await main(parseOptions(process.argv.slice(2)));
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exitCode = 1;
}
