/** One guest under one load: how fast its daemon answers, and how fast the guest works, before and while clients are busy. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { incomingUri } from '../demo/incoming_uri.js';
import type { SerialLine } from '../demo/serial_line.js';
import type { VmProcess } from '../demo/vm_process.js';
import { type HostName, startPair } from './hosts.js';
import { LineClient } from './line_client.js';
import { quantile } from './report.js';
import type { Scenario } from './scenarios.js';

const BUSY_CLIENTS = fileURLToPath(new URL('./busy_clients.js', import.meta.url));
/** Between two questions of the client whose time is taken: a poller that is in a hurry. */
const POLL_MS = 4;
/** Only to see the guest's pace: a guest that prints more often takes time from what is measured. */
const HEARTBEAT_MS = 200;
/** Slow enough that the migration outlasts what is measured during it. */
const BYTES_PER_SECOND = 24 * 2 ** 20;

export interface QmpBenchOptions {
  readonly dir: string;
  readonly clients: number;
  /** What a busy client waits after an answer; 0: it asks as fast as it is answered. */
  readonly pauseMs: number;
  /** How long each of the three phases is measured. */
  readonly phaseMs: number;
  readonly onSpawn: (vm: VmProcess) => void;
}

/** Round trips of `query-migrate`, in milliseconds. */
export interface RoundTrips {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface QmpFigures {
  readonly host: HostName;
  readonly scenario: string;
  /** During the migration alone, and with busy clients as well. */
  readonly quiet: RoundTrips;
  readonly loaded: RoundTrips;
  /** Pages that the guest wrote a second: before, during the migration, and with busy clients as well. */
  readonly work: { readonly alone: number; readonly migrating: number; readonly loaded: number };
  /** Commands of the busy clients answered a second. */
  readonly commandsPerSecond: number;
}

/** @throws Error when the guest, the migration or a client does not do what it should */
export async function measureQmp(host: HostName, scenario: Scenario, options: QmpBenchOptions): Promise<QmpFigures> {
  const vms: VmProcess[] = [];
  // QEMU serves one client a socket.
  const paths = Array.from({ length: host === 'QEMU' ? options.clients + 1 : 1 }, (_, i) =>
    join(options.dir, `${host}.${i}`),
  );
  const sockets = paths.flatMap((path) => ['-qmp', `unix:${path},server=on,wait=off`]);
  const onSpawn = (vm: VmProcess): void => {
    vms.push(vm);
    options.onSpawn(vm);
  };
  const { source, destination } = await startPair(host, scenario, options.dir, onSpawn, {
    heartbeatMs: HEARTBEAT_MS,
    sourceArgs: sockets,
  });
  try {
    const lost = Promise.race([source.lost, destination.lost]);
    return await Promise.race([phases(host, scenario, source, destination, paths, options), lost]);
  } finally {
    await Promise.all(vms.map((vm) => vm.end()));
  }
}

async function phases(
  host: HostName,
  scenario: Scenario,
  source: VmProcess,
  destination: VmProcess,
  paths: readonly string[],
  { clients, pauseMs, phaseMs }: QmpBenchOptions,
): Promise<QmpFigures> {
  const { qmp, serial } = source;
  const [probePath = ''] = paths;
  const probe = await LineClient.connect(probePath);
  await qmp.execute('cont');
  await serial.next(scenario.ready, 30_000);
  const alone = await during(serial, () => delay(phaseMs));

  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': BYTES_PER_SECOND });
  await qmp.execute('migrate', { uri: await incomingUri(destination.qmp) });
  const migrating = await during(serial, () => roundTrips(probe, phaseMs));

  const busyPaths = Array.from({ length: clients }, (_, i) => paths[i + 1] ?? probePath);
  const busy = fork(BUSY_CLIENTS, [String(pauseMs), ...busyPaths], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  try {
    await message(busy);
    const since = performance.now();
    const loaded = await during(serial, () => roundTrips(probe, phaseMs));
    const { status } = await qmp.execute('query-migrate');
    if (status !== 'active') throw new Error(`${host}: the migration is ${status} before the measurement is over`);
    const answered = message(busy);
    busy.send('stop');
    const commandsPerSecond = (Number(await answered) * 1000) / (performance.now() - since);
    await qmp.execute('migrate_cancel');
    return {
      host,
      scenario: scenario.name,
      quiet: migrating.value,
      loaded: loaded.value,
      work: { alone: alone.pagesPerSecond, migrating: migrating.pagesPerSecond, loaded: loaded.pagesPerSecond },
      commandsPerSecond,
    };
  } finally {
    busy.kill('SIGKILL');
    probe.close();
  }
}

/** The next message of a child. @throws when it ends instead */
async function message(child: ChildProcess): Promise<unknown> {
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the busy clients ended with ${code}`);
  });
  ended.catch(() => undefined);
  const [value] = await Promise.race([once(child, 'message'), ended]);
  return value;
}

async function roundTrips(probe: LineClient, forMs: number): Promise<RoundTrips> {
  const times: number[] = [];
  for (const end = performance.now() + forMs; performance.now() < end; await delay(POLL_MS)) {
    const start = performance.now();
    await probe.execute('query-migrate');
    times.push(performance.now() - start);
  }
  const sorted = times.toSorted((a, b) => a - b);
  return { count: sorted.length, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: quantile(sorted, 1) };
}

const BEAT = /^HB \d+ passes=\d+ dirtied=(\d+) ms=(\d+) /;

/** Does something, and tells from the guest's own counters and clock how fast the guest worked meanwhile. */
async function during<T>(serial: SerialLine, action: () => Promise<T>): Promise<{ value: T; pagesPerSecond: number }> {
  const from = serial.lines.length;
  const value = await action();
  const beats = serial.lines.slice(from).flatMap(({ text }) => {
    const [, dirtied, ms] = BEAT.exec(text) ?? [];
    return ms === undefined ? [] : [{ dirtied: Number(dirtied), ms: Number(ms) }];
  });
  const [first, last] = [beats[0], beats.at(-1)];
  if (!first || !last || last.ms <= first.ms) throw new Error('the guest shows no heartbeats');
  return { value, pagesPerSecond: ((last.dirtied - first.dirtied) * 1000) / (last.ms - first.ms) };
}
