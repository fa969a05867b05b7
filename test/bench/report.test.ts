import t from 'tap';
import { loopbackRate } from '../../bench/loopback.js';
import type { Figures } from '../../bench/measure.js';
import { parseOptions } from '../../bench/options.js';
import { median, scenarioReport } from '../../bench/report.js';
import { SCENARIOS, type Scenario } from '../../bench/scenarios.js';

const scenario = SCENARIOS[0] as Scenario;

function figures(host: Figures['host'], totalMs: number, completed = true): Figures {
  const common = { host, scenario: scenario.name, completed, totalMs, transferredBytes: 100 * 2 ** 20, syncs: 3 };
  return completed ? { ...common, downtimeMs: totalMs / 10, gapMs: totalMs / 20 } : common;
}

t.test('the median is the middle, or the mean of the two in the middle', async (t) => {
  t.equal(median([5]), 5);
  t.equal(median([9, 1, 10]), 9);
  t.equal(median([10, 2, 4, 1]), 3);
  t.ok(Number.isNaN(median([])));
});

t.test('a report has the medians of both, their spread and the ratio ours to theirs', async (t) => {
  const all = [100, 300, 200].flatMap((ms) => [figures('vmhostd', ms), figures('QEMU', ms * 4)]);
  const text = scenarioReport(scenario, all, 20_000);
  t.match(text, /^total time +200 ms \(100 ms to 300 ms\) +800 ms \(400 ms to 1200 ms\) +0\.25$/m);
  t.match(text, /^standstill of heartbeats +10 ms .* 0\.25$/m);
  t.match(text, /^bytes sent +100 MiB .* 1\.00$/m);
});

t.test('migrations that were cancelled are counted apart, and leave no ratio when there are no others', async (t) => {
  const all = [figures('vmhostd', 100), figures('QEMU', 20_000, false)];
  const text = scenarioReport(scenario, all, 20_000);
  t.match(text, /^total time +100 ms +none ended +-$/m);
  t.match(text, /^QEMU: 1 of 1 migrations did not end within 20 s and were cancelled/m);
});

t.test('steps of the downtime are listed by their medians, the longest first', async (t) => {
  const all = [1, 3, 2].map((ms) => ({ ...figures('vmhostd', 100), downtimeSteps: { pause: ms, load: ms * 10 } }));
  t.match(
    scenarioReport(scenario, all, 20_000),
    /^vmhostd's downtime by step, medians in ms: load 20\.0, pause 2\.0$/m,
  );
});

t.test('options have defaults, and a bad one is named with its value', async (t) => {
  t.match(parseOptions([]), { pairs: 5, timeoutMs: 20_000, scenarios: SCENARIOS, policy: 'mplm', json: undefined });
  t.same(
    parseOptions(['--scenario', 'paced', '--pairs', '2']).scenarios.map(({ name }) => name),
    ['paced'],
  );
  t.throws(() => parseOptions(['--pairs', '0']), { message: "--pairs: '0' is no number from 1 on" });
  t.throws(() => parseOptions(['--scenario', 'x']), { message: "--scenario: there is no 'x'" });
  t.throws(() => parseOptions(['--policy', 'x']), { message: "--policy: 'x' is neither mplm nor precopy" });
  t.throws(() => parseOptions(['--nonsense']), /--nonsense/);
});

t.test('the loopback is measured by moving bytes between two processes', async (t) => {
  for (const into of ['one buffer', 'fresh memory'] as const)
    t.ok((await loopbackRate(8 * 2 ** 20, into)) > 2 ** 20, into);
});
