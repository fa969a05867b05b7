/** One migration of one guest, measured from outside and by what the source says of it. */
import { followMigration, MigrationTimeout } from '../daemon/ctl/follow_migration.js';
import { incomingUri } from '../demo/incoming_uri.js';
import { heartbeatFault, heartbeats, type SerialLine } from '../demo/serial_line.js';
import type { VmProcess } from '../demo/vm_process.js';
import { configure, type HostName, type Policy, startPair } from './hosts.js';
import { HEARTBEAT_MS, type Scenario } from './scenarios.js';

const POLL_MS = 50;

export interface Figures {
  readonly host: HostName;
  readonly scenario: string;
  /** False when the migration was still going on after the limit and was cancelled. */
  readonly completed: boolean;
  /** `total-time` of query-migrate; of a migration that was cancelled, when it was. */
  readonly totalMs: number;
  /** `downtime` of query-migrate. */
  readonly downtimeMs?: number;
  /** From the last heartbeat out of the source to the first out of the destination, less the time due between them. */
  readonly gapMs?: number;
  readonly transferredBytes: number;
  readonly syncs: number;
  /** Milliseconds of the downtime by step, where query-migrate has them (vmhostd's). */
  readonly downtimeSteps?: { readonly [step: string]: number };
}

export interface MeasureOptions {
  readonly dir: string;
  readonly timeoutMs: number;
  readonly policy: Policy;
  readonly onSpawn: (vm: VmProcess) => void;
}

/**
 * Boots, loads, migrates and verifies one guest; nothing of it is left after.
 * @throws Error when anything but the time limit ends the migration, or the guest is not what it was
 */
export async function measure(host: HostName, scenario: Scenario, options: MeasureOptions): Promise<Figures> {
  const vms: VmProcess[] = [];
  const { source, destination } = await startPair(
    host,
    scenario,
    options.dir,
    (vm) => {
      vms.push(vm);
      options.onSpawn(vm);
    },
    { heartbeatMs: HEARTBEAT_MS },
  );
  try {
    const lost = Promise.race([source.lost, destination.lost]);
    return await Promise.race([migrate(host, scenario, source, destination, options), lost]);
  } catch (error) {
    const said = vms.map((vm) => vm.stderr).filter((text) => text !== '');
    throw new Error([`${host}, ${scenario.name}: ${(error as Error).message}`, ...said].join('\n'), { cause: error });
  } finally {
    await Promise.all(vms.map((vm) => vm.end()));
  }
}

async function migrate(
  host: HostName,
  scenario: Scenario,
  source: VmProcess,
  destination: VmProcess,
  { timeoutMs, policy }: MeasureOptions,
): Promise<Figures> {
  const { qmp } = source;
  await qmp.execute('cont');
  await source.serial.next(scenario.ready, 30_000);
  const uri = await incomingUri(destination.qmp);
  await configure(host, qmp, policy);
  await qmp.execute('migrate', { uri });
  try {
    const info = await followMigration(qmp, { intervalMs: POLL_MS, timeoutMs });
    await destination.serial.next(/^HB /);
    const gapMs = standstill(source.serial, destination.serial);
    await verify(destination.serial);
    return {
      host,
      scenario: scenario.name,
      completed: true,
      totalMs: info['total-time'] ?? 0,
      downtimeMs: info.downtime ?? 0,
      gapMs,
      ...(info.mplm?.['downtime-breakdown'] ? { downtimeSteps: info.mplm['downtime-breakdown'] } : {}),
      transferredBytes: info.ram?.transferred ?? 0,
      syncs: info.ram?.['dirty-sync-count'] ?? 0,
    };
  } catch (error) {
    if (!(error instanceof MigrationTimeout)) throw error;
    const { info } = error;
    await qmp.execute('migrate_cancel');
    return {
      host,
      scenario: scenario.name,
      completed: false,
      totalMs: info['total-time'] ?? timeoutMs,
      transferredBytes: info.ram?.transferred ?? 0,
      syncs: info.ram?.['dirty-sync-count'] ?? 0,
    };
  }
}

/** Milliseconds that the heartbeats stood still, as their reader saw it. */
function standstill(before: SerialLine, after: SerialLine): number {
  const last = beats(before).at(-1);
  const first = beats(after)[0];
  if (last === undefined || first === undefined) throw new Error('the guest shows no heartbeats');
  const fault = heartbeatFault(heartbeats(before.received + after.received));
  if (fault !== undefined) throw new Error(fault);
  return first.atMs - last.atMs - (first.n - last.n) * HEARTBEAT_MS;
}

function beats({ lines }: SerialLine): { n: number; atMs: number }[] {
  return lines.flatMap(({ text, atMs }) => {
    const match = /^HB (\d+) /.exec(text);
    return match ? [{ n: Number(match[1]), atMs }] : [];
  });
}

async function verify(serial: SerialLine): Promise<void> {
  serial.send('v');
  const [verdict, ok] = await serial.next(/^VERIFY (ok)?.*/, 30_000);
  if (ok === undefined) throw new Error(`the guest's memory is not what it wrote: ${verdict}`);
}
