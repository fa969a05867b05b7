/** Medians and ratios of what was measured. */
import { mebibytes } from '../daemon/ctl/units.js';
import { table } from '../demo/table.js';
import type { HostName } from './hosts.js';
import type { Figures } from './measure.js';
import type { Scenario } from './scenarios.js';

/** The middle of some numbers; of an even count, the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

/** The value below which the share `q` of some sorted numbers lies, by nearest rank. NaN of none. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

interface Measure {
  readonly name: string;
  readonly of: (figures: Figures) => number | undefined;
  readonly show: (value: number) => string;
}

const ms = (value: number) => `${Math.round(value)} ms`;

const MEASURES: readonly Measure[] = [
  { name: 'total time', of: (f) => f.totalMs, show: ms },
  { name: 'downtime, as reported', of: (f) => f.downtimeMs, show: ms },
  { name: 'standstill of heartbeats', of: (f) => f.gapMs, show: ms },
  { name: 'bytes sent', of: (f) => f.transferredBytes, show: mebibytes },
  { name: 'syncs of the dirty log', of: (f) => f.syncs, show: (value) => String(Math.round(value)) },
];

/** The table of one scenario: for each measure the medians (least to most) of both and their ratio. */
export function scenarioReport(scenario: Scenario, all: readonly Figures[], timeoutMs: number): string {
  const of = (host: HostName) => all.filter((f) => f.scenario === scenario.name && f.host === host);
  const ended = (host: HostName) => of(host).filter((f) => f.completed);
  const rows = MEASURES.map(({ name, of: value, show }) => {
    const numbers = (host: HostName) => ended(host).flatMap((f) => value(f) ?? []);
    const [ours, theirs] = [numbers('vmhostd'), numbers('QEMU')];
    const ratio = median(ours) / median(theirs);
    return [name, spread(ours, show), spread(theirs, show), Number.isFinite(ratio) ? ratio.toFixed(2) : '-'];
  });
  const unfinished = (['vmhostd', 'QEMU'] as const).flatMap((host) => {
    const [count, runs] = [of(host).length - ended(host).length, of(host).length];
    if (count === 0) return [];
    return [
      `${host}: ${count} of ${runs} migrations did not end within ${timeoutMs / 1000} s and were cancelled; they are not in the table.`,
    ];
  });
  const steps = downtimeSteps(ended('vmhostd'));
  return [scenario.title, '', table(['', 'vmhostd', 'QEMU', 'ratio'], rows), ...steps, ...unfinished, ''].join('\n');
}

/** Where vmhostd's downtime goes, by the median of each step. */
function downtimeSteps(figures: readonly Figures[]): string[] {
  const names = new Set(figures.flatMap((f) => Object.keys(f.downtimeSteps ?? {})));
  const steps = [...names]
    .map((name) => ({ name, ms: median(figures.flatMap((f) => f.downtimeSteps?.[name] ?? [])) }))
    .toSorted((a, b) => b.ms - a.ms)
    .map(({ name, ms }) => `${name} ${ms.toFixed(1)}`);
  return steps.length > 0 ? [`vmhostd's downtime by step, medians in ms: ${steps.join(', ')}`] : [];
}

function spread(values: readonly number[], show: (value: number) => string): string {
  if (values.length === 0) return 'none ended';
  if (values.length === 1) return show(values[0] as number);
  return `${show(median(values))} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;
}
