/** What the demo does: a busy guest moves from one daemon to another, and is then asked whether it is still the same. */
import { fileURLToPath } from 'node:url';
import { followMigration } from '../daemon/ctl/follow_migration.js';
import type { MigrationInfo } from '../schemas/generated/qmp.js';
import { incomingUri } from './incoming_uri.js';
import { heartbeatFault, heartbeats } from './serial_line.js';
import { VmProcess } from './vm_process.js';

const DAEMON = fileURLToPath(new URL('../daemon/vmhostd.js', import.meta.url));
const GUEST = fileURLToPath(new URL('../../guest/vmguest.elf', import.meta.url));

/** The guest writes faster than the link may send: classic pre-copy could never catch up with it. */
export const PLAN = {
  ramMib: 512,
  fillMib: 448,
  hotMib: 192,
  pagesPerSecond: 40_000,
  linkMibPerSecond: 128,
  bufferMib: 4,
  intervalSeconds: 1,
} as const;

const POLL_MS = 100;
const MIGRATION_TIMEOUT_MS = 30_000;
/** Heartbeats that are seen on each side before it goes on. */
const BEATS = 3;
const BEAT = /^HB \d+ /;

export interface Outcome {
  /** The last answer of `query-migrate` on the source. */
  readonly info: MigrationInfo;
  readonly beats: { readonly first: number; readonly lastOnSource: number; readonly last: number };
  /** Pages that the guest compared with what it wrote. */
  readonly verifiedPages: number;
}

export interface Watcher {
  /** A step begins: a few words. */
  step(text: string): void;
  progress(info: MigrationInfo): void;
  /** A process now exists and has to be ended. */
  spawned(vm: VmProcess): void;
}

/**
 * Runs the demo with sockets in `dir`. The processes are left running, for who watches to end them.
 * @throws Error with one sentence when anything is not as it should be
 */
export async function runScenario(dir: string, watcher: Watcher): Promise<Outcome> {
  watcher.step('Starting two daemons: the source, and the destination with -incoming tcp:127.0.0.1:0');
  const append = `fill=${PLAN.fillMib} ws=${PLAN.hotMib} rate=${PLAN.pagesPerSecond}`;
  const start = (name: string, ...more: string[]) => {
    const args = [DAEMON, '-m', `${PLAN.ramMib}`, ...more];
    return VmProcess.start({ name, dir, command: process.execPath, args }, watcher.spawned);
  };
  const [source, destination] = await Promise.all([
    start('source', '-kernel', GUEST, '-append', append, '-S'),
    start('destination', '-incoming', 'tcp:127.0.0.1:0'),
  ]);
  const lost = Promise.race([source.lost, destination.lost]);
  return Promise.race([migrate(source, destination, watcher), lost]);
}

async function migrate(source: VmProcess, destination: VmProcess, watcher: Watcher): Promise<Outcome> {
  const { qmp } = source;
  watcher.step('The guest boots on the source, fills its memory and begins to write');
  await qmp.execute('cont');
  await source.serial.next(/^FILLED /, 20_000);
  for (let i = 0; i < BEATS; i++) await source.serial.next(BEAT);

  const uri = await incomingUri(destination.qmp);
  watcher.step(`migrate ${uri}`);
  await qmp.execute('set-mplm-migration', { enable: true, intervaltime: PLAN.intervalSeconds });
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': PLAN.linkMibPerSecond * 2 ** 20 });
  await qmp.execute('migrate', { uri, 'max-buffer-bytes': PLAN.bufferMib * 2 ** 20 });
  const limits = { intervalMs: POLL_MS, timeoutMs: MIGRATION_TIMEOUT_MS };
  const info = await followMigration(qmp, limits, watcher.progress);

  watcher.step('The guest goes on at the destination; every page of it is verified there');
  for (let i = 0; i < BEATS; i++) await destination.serial.next(BEAT);
  destination.serial.send('v');
  const [verdict, , pages] = await destination.serial.next(/^VERIFY (ok pages=(\d+)|BAD) .*/);
  if (pages === undefined) throw new Error(`the guest's memory is not what it wrote: ${verdict}`);
  await expectStatus(source, 'postmigrate', false);
  await expectStatus(destination, 'running', true);
  return { info, beats: checkBeats(source, destination), verifiedPages: Number(pages) };
}

/** A line that was cut by the migration begins in the source's output and ends in the destination's. */
function checkBeats(source: VmProcess, destination: VmProcess): Outcome['beats'] {
  const onSource = heartbeats(source.serial.received);
  const all = heartbeats(source.serial.received + destination.serial.received);
  const fault = heartbeatFault(all);
  if (fault !== undefined) throw new Error(`the guest lost its count as it moved: ${fault}`);
  const [first, lastOnSource, last] = [all[0], onSource.at(-1), all.at(-1)];
  if (first === undefined || lastOnSource === undefined || last === undefined || last <= lastOnSource) {
    throw new Error(`the guest did not go on: its heartbeats are ${all.join(', ')}`);
  }
  return { first, lastOnSource, last };
}

async function expectStatus(vm: VmProcess, status: string, running: boolean): Promise<void> {
  const now = await vm.qmp.execute('query-status');
  if (now.status !== status || now.running !== running) {
    throw new Error(`the ${vm.name} should be ${status} and is ${now.status}${now.running ? ', running' : ''}`);
  }
}
