/** `query-migrate`: QEMU's members for each status, from shared figures, and ours under `mplm`. */
import { PAGE_SIZE } from '../../kvm/guest_ram.js';
import type { SocketAddress as ListenAddress } from '../../kvm/sockets.js';
import type { MigrationInfo, MigrationStats, MplmInfo, SocketAddress } from '../../schemas/generated/qmp.js';
import { BUDGET_WORD } from './budget.js';
import { MIGRATION_STAGES } from './errors.js';
import type { Incoming } from './incoming.js';
import type { Outgoing } from './outgoing.js';
import { FIGURE, nowMs, type SharedProgress } from './progress.js';

const ms = (value: number): number => Math.max(0, Math.round(value));

/** What the source says. @param ramBytes of the machine */
export function outgoingInfo(migration: Outgoing, ramBytes: number): MigrationInfo {
  const { status, cpuThrottlePercentage: throttled } = migration;
  switch (status) {
    case 'setup':
    case 'cancelled':
      return { status };
    case 'failed':
      return { status, 'error-desc': migration.errorDesc ?? 'no cause given' };
    case 'completed':
      return {
        status,
        'total-time': ms((migration.endedMs ?? nowMs()) - migration.startedMs),
        downtime: ms(migration.downtimeMs ?? 0),
        'setup-time': ms(migration.setupMs),
        ram: ramStats(migration, ramBytes),
        mplm: mplmInfo(migration),
      };
    default:
      return {
        status,
        'total-time': ms(nowMs() - migration.startedMs),
        'expected-downtime': ms(migration.progress.figures[FIGURE.EXPECTED_DOWNTIME_MS] as number),
        'setup-time': ms(migration.setupMs),
        ram: ramStats(migration, ramBytes),
        ...(throttled > 0 ? { 'cpu-throttle-percentage': throttled } : {}),
        mplm: mplmInfo(migration),
      };
  }
}

/** What the destination says. */
export function incomingInfo(migration: Incoming): MigrationInfo {
  if (migration.status === 'completed') return { status: 'completed' };
  if (migration.status === 'failed') {
    return { status: 'failed', 'error-desc': migration.errorDesc ?? 'no cause given' };
  }
  const { listener, status } = migration;
  return {
    ...(status === undefined ? {} : { status }),
    ...(listener
      ? { 'socket-address': [listener.address, ...(listener.also ? [listener.also] : [])].map(socketAddress) }
      : {}),
  };
}

function socketAddress(address: ListenAddress): SocketAddress {
  if (address.kind === 'unix') return { type: 'unix', path: address.path };
  const family = address.host.includes(':') ? { ipv6: true } : { ipv4: true };
  return { type: 'inet', host: address.host, port: String(address.port), ...family };
}

function ramStats({ progress, status }: Outgoing, ramBytes: number): MigrationStats {
  const figure = (index: number) => progress.figures[index] as number;
  const transferred = figure(FIGURE.BYTES);
  return {
    transferred,
    remaining: status === 'completed' ? 0 : figure(FIGURE.REMAINING_PAGES) * PAGE_SIZE,
    total: ramBytes,
    duplicate: figure(FIGURE.ZERO_PAGES),
    skipped: 0,
    normal: figure(FIGURE.NORMAL_PAGES),
    'normal-bytes': figure(FIGURE.NORMAL_PAGES) * PAGE_SIZE,
    'dirty-pages-rate': Math.round(figure(FIGURE.DIRTY_RATE)),
    mbps: figure(FIGURE.MBPS),
    'dirty-sync-count': figure(FIGURE.SYNCS),
    'postcopy-requests': 0,
    'page-size': PAGE_SIZE,
    'multifd-bytes': 0,
    'pages-per-second': Math.round(figure(FIGURE.PAGES_PER_SECOND)),
    'precopy-bytes': figure(FIGURE.PRECOPY_BYTES) || transferred,
    'downtime-bytes': figure(FIGURE.DOWNTIME_BYTES),
    'postcopy-bytes': 0,
    'dirty-sync-missed-zero-copy': 0,
  };
}

/** The memory bound of one side. */
export function bufferInfo({ budget }: SharedProgress): MplmInfo['buffer'] {
  return {
    bound: budget[BUDGET_WORD.BOUND] as number,
    'in-use': budget[BUDGET_WORD.IN_USE] as number,
    peak: budget[BUDGET_WORD.PEAK] as number,
  };
}

function mplmInfo(migration: Outgoing): MplmInfo {
  const { mplm, progress, breakdown } = migration;
  const figure = (index: number) => progress.figures[index] as number;
  const epochStartMs = figure(FIGURE.EPOCH_START_MS); // 0: the first one has not begun
  return {
    policy: mplm.enable ? 'mplm' : 'precopy',
    stage: migration.status === 'active' ? (MIGRATION_STAGES[figure(FIGURE.STAGE)] ?? 'live') : migration.status,
    epoch: figure(FIGURE.EPOCH),
    ...(migration.active ? { 'epoch-elapsed': ms(epochStartMs === 0 ? 0 : nowMs() - epochStartMs) } : {}),
    'non-dirty-pages': figure(FIGURE.NON_DIRTY_PAGES),
    'dirty-pages': figure(FIGURE.DIRTY_PAGES),
    extended: figure(FIGURE.EXTENDED) === 1,
    firstnondirty: mplm.firstnondirty,
    intervaltime: mplm.intervaltime,
    relaxlivemig: mplm.relaxlivemig,
    dirtypercents: mplm.dirtypercents,
    buffer: bufferInfo(progress),
    epochs: migration.records.map((record) => ({
      epoch: record.epoch,
      'elapsed-ms': ms(record.elapsedMs),
      'dirty-pages-sent': record.dirtyPagesSent,
      'non-dirty-pages-sent': record.nonDirtyPagesSent,
      'new-dirty-pages': record.newDirtyPages,
      'non-dirty-pages': record.nonDirtyPages,
      'dirty-pages': record.dirtyPages,
      bytes: record.bytes,
    })),
    ...(breakdown ? { 'downtime-breakdown': breakdown } : {}),
  };
}
