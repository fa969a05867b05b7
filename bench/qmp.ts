/** `npm run bench:qmp`: how fast QMP is answered while many ask, and whether the guest feels it, by vmhostd and by QEMU. See bench/README.md. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { makeBed, runBench, status } from './bed.js';
import { positive } from './options.js';
import { measureQmp, type QmpFigures } from './qmp_measure.js';
import { qmpReport } from './qmp_report.js';
import type { Scenario } from './scenarios.js';

const HELP = `Times query-migrate while other clients are busy and a migration runs: npm run bench:qmp -- [OPTION]...

  --runs N      runs of each program, in turns, for each kind of guest (default 1)
  --clients N   busy clients besides the one whose time is taken (default 8)
  --pause MS    what a busy client waits after an answer; 0: nothing, it floods (default 5)
  --seconds S   how long each of a run's three phases is measured (default 2)
  --json FILE   writes every single figure to FILE
  --help        this text
`;

const RAM_MIB = 768;

/** A guest that rests in between, and one that wants a processor for itself. */
const GUESTS: readonly Scenario[] = [
  {
    name: 'paced',
    title: 'A guest that rewrites 64 MiB at 20,000 pages/s',
    ramMib: RAM_MIB,
    load: 'fill=512 ws=64 rate=20000',
    ready: /^HB \d+ passes=[1-9]/,
  },
  {
    name: 'flat-out',
    title: 'A guest that rewrites 64 MiB as fast as it can',
    ramMib: RAM_MIB,
    load: 'fill=512 ws=64 rate=max',
    ready: /^HB \d+ passes=[1-9]/,
  },
];

async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: 'string', default: '1' },
      clients: { type: 'string', default: '8' },
      pause: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const runs = positive('--runs', values.runs);
  const clients = positive('--clients', values.clients);
  const pauseMs = values.pause === '0' ? 0 : positive('--pause', values.pause);
  const phaseMs = positive('--seconds', values.seconds) * 1000;
  const { machine, dir, vms } = makeBed();
  console.log(
    `query-migrate every few ms beside ${clients} clients that ask ${pauseMs > 0 ? `${pauseMs} ms after each answer` : 'without a pause'}, in a migration over the loopback\n`,
  );
  const figures: QmpFigures[] = [];
  for (const scenario of GUESTS) {
    for (let run = 1; run <= runs; run++) {
      for (const host of ['vmhostd', 'QEMU'] as const) {
        status(`${scenario.name}: run ${run} of ${runs}, ${host}`);
        figures.push(
          await measureQmp(host, scenario, { dir, clients, pauseMs, phaseMs, onSpawn: (vm) => vms.add(vm) }),
        );
        vms.clear();
      }
    }
    status('');
    console.log(qmpReport(scenario, figures));
  }
  if (values.json !== undefined) {
    const result = { date: new Date().toISOString(), machine, clients, pauseMs, phaseMs, figures };
    writeFileSync(values.json, `${JSON.stringify(result, undefined, 1)}\n`);
  }
}

await runBench(() => main(process.argv.slice(2)));
