/** `npm run bench`: the same guest, migrated by vmhostd and by QEMU in turns. See bench/README.md. */
import { writeFileSync } from 'node:fs';
import type { VmProcess } from '../demo/vm_process.js';
import { makeBed, runBench, status } from './bed.js';
import { type Into, loopbackRate } from './loopback.js';
import { type Figures, measure } from './measure.js';
import { type BenchOptions, HELP, parseOptions } from './options.js';
import { median, scenarioReport } from './report.js';

const LOOPBACK_BYTES = 2 ** 30;
const LOOPBACK_RUNS = 3;

async function main(options: BenchOptions): Promise<void> {
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  const { machine, dir, vms } = makeBed();

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
        status(`${scenario.name}: pair ${pair} of ${options.pairs}, ${host}`);
        const onSpawn = (vm: VmProcess) => vms.add(vm);
        const { timeoutMs, policy } = options;
        figures.push(await measure(host, scenario, { dir, timeoutMs, policy, onSpawn }));
        vms.clear();
      }
    }
    status('');
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

await runBench(() => main(parseOptions(process.argv.slice(2))));
