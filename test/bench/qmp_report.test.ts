import t from 'tap';
import { LineClient } from '../../bench/line_client.js';
import type { QmpFigures } from '../../bench/qmp_measure.js';
import { qmpReport } from '../../bench/qmp_report.js';
import { quantile } from '../../bench/report.js';
import { SCENARIOS, type Scenario } from '../../bench/scenarios.js';
import { socketPath } from '../daemon/qmp/socket_path.js';
import { modelServer } from '../helpers/model_server.js';

const scenario = SCENARIOS[0] as Scenario;

function figures(host: QmpFigures['host'], p99: number, loadedPages: number): QmpFigures {
  const trips = { count: 500, p50: p99 / 2, p99, max: p99 * 2 };
  const work = { alone: 20_000, migrating: 19_000, loaded: loadedPages };
  return { host, scenario: scenario.name, quiet: trips, loaded: trips, work, commandsPerSecond: 12_345 };
}

t.test('a quantile is the value that so large a share does not exceed', async (t) => {
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
  t.equal(quantile(hundred, 0.5), 50);
  t.equal(quantile(hundred, 0.99), 99);
  t.equal(quantile(hundred, 1), 100);
  t.equal(quantile([7], 0.5), 7);
  t.ok(Number.isNaN(quantile([], 0.5)));
});

t.test('a report has the medians of both and their ratio', async (t) => {
  const all = [1, 3, 2].flatMap((p99) => [figures('vmhostd', p99, 20_000), figures('QEMU', p99 * 2, 10_000)]);
  const text = qmpReport(scenario, all);
  t.match(text, /^query-migrate, busy clients: p99 +2\.000 ms +4\.000 ms +0\.50$/m);
  t.match(text, /^guest, busy clients too: share +100\.0 % +50\.0 % +2\.00$/m);
  t.match(text, /^commands of busy clients a second +12,345 /m);
});

t.test('the client that takes the time passes over events and refuses refusals', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const client = await LineClient.connect(path);
  t.match(await client.execute('stop'), /^\{"return": \{\}\}$/, 'STOP came first');
  await t.rejects(client.execute('nope'), /nope: .*has not been found/);
  t.match(await client.execute('query-status'), /"paused"/);
  const lost = client.execute('query-status');
  client.close();
  await t.rejects(lost, /closed the connection/);
});
