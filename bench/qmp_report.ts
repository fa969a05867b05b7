/** What the daemons' answers and the guests' work came to, side by side. */
import { count } from '../daemon/ctl/units.js';
import { table } from '../demo/table.js';
import type { HostName } from './hosts.js';
import type { QmpFigures } from './qmp_measure.js';
import { median } from './report.js';
import type { Scenario } from './scenarios.js';

interface Row {
  readonly name: string;
  readonly of: (figures: QmpFigures) => number;
  readonly show: (value: number) => string;
}

const ms = (value: number): string => `${value.toFixed(3)} ms`;
const share = (value: number): string => `${(value * 100).toFixed(1)} %`;
const whole = (value: number): string => count(Math.round(value));

const ROWS: readonly Row[] = [
  { name: 'query-migrate, no others: p50', of: (f) => f.quiet.p50, show: ms },
  { name: 'query-migrate, no others: p99', of: (f) => f.quiet.p99, show: ms },
  { name: 'query-migrate, busy clients: p50', of: (f) => f.loaded.p50, show: ms },
  { name: 'query-migrate, busy clients: p99', of: (f) => f.loaded.p99, show: ms },
  { name: 'query-migrate, busy clients: max', of: (f) => f.loaded.max, show: ms },
  { name: 'questions timed', of: (f) => f.loaded.count, show: whole },
  { name: 'commands of busy clients a second', of: (f) => f.commandsPerSecond, show: whole },
  { name: 'guest, no migration: pages/s', of: (f) => f.work.alone, show: whole },
  { name: 'guest, migrating: share of that', of: (f) => f.work.migrating / f.work.alone, show: share },
  { name: 'guest, busy clients too: share', of: (f) => f.work.loaded / f.work.alone, show: share },
];

/** The table of one scenario: the median of each figure's runs, vmhostd's beside QEMU's, and their ratio. */
export function qmpReport(scenario: Scenario, all: readonly QmpFigures[]): string {
  const of = (host: HostName, row: Row): number =>
    median(all.filter((figures) => figures.scenario === scenario.name && figures.host === host).map(row.of));
  const rows = ROWS.map((row) => {
    const [ours, theirs] = [of('vmhostd', row), of('QEMU', row)];
    return [row.name, row.show(ours), row.show(theirs), (ours / theirs).toFixed(2)];
  });
  return [scenario.title, '', table(['', 'vmhostd', 'QEMU', 'ratio'], rows), ''].join('\n');
}
