/** `info` about migration. */
import type { CommandReturns, MigrationInfo, MigrationStats, SocketAddress } from '../../../schemas/generated/qmp.js';
import { command } from '../command.js';

/** What QEMU prints before a migration's state: settings of its migration object that nothing here changes. */
const GLOBALS = `globals:
store-global-state: on
only-migratable: off
send-configuration: on
send-section-footer: on
decompress-error-check: on
clear-bitmap-shift: 18
`;

type Count = number | bigint;
const kbytes = (bytes: Count) => `${BigInt(bytes) >> 10n} kbytes`;
const onOff = (value: boolean) => (value ? 'on' : 'off');

/** The lines of `info migrate` (hmp_info_migrate of QEMU's monitor/hmp-cmds.c). */
export function migrationText(info: MigrationInfo): string {
  const lines: string[] = [];
  const member = (name: string, value: Count | undefined, unit = '') => {
    if (value !== undefined) lines.push(`${name}: ${value}${unit}`);
  };
  if (info.status !== undefined) {
    const cause = info.status === 'failed' && info['error-desc'] ? ` (${info['error-desc']})` : '';
    lines.push(`Migration status: ${info.status}${cause}`);
    member('total time', info['total-time'] ?? 0, ' ms');
    member('expected downtime', info['expected-downtime'], ' ms');
    member('downtime', info.downtime, ' ms');
    member('setup', info['setup-time'], ' ms');
  }
  if (info.ram) lines.push(...ramLines(info.ram));
  member('cpu throttle percentage', info['cpu-throttle-percentage']);
  if (info['socket-address']) {
    lines.push('socket address: [', ...info['socket-address'].map((address) => `\t${addressText(address)}`), ']');
  }
  return `${GLOBALS}${lines.map((line) => `${line}\n`).join('')}`;
}

function ramLines(ram: MigrationStats): string[] {
  const unlessZero = (value: Count, line: string) => (BigInt(value) === 0n ? [] : [line]);
  return [
    `transferred ram: ${kbytes(ram.transferred)}`,
    `throughput: ${ram.mbps.toFixed(2)} mbps`,
    `remaining ram: ${kbytes(ram.remaining)}`,
    `total ram: ${kbytes(ram.total)}`,
    `duplicate: ${ram.duplicate} pages`,
    `skipped: ${ram.skipped} pages`,
    `normal: ${ram.normal} pages`,
    `normal bytes: ${kbytes(ram['normal-bytes'])}`,
    `dirty sync count: ${ram['dirty-sync-count']}`,
    `page size: ${kbytes(ram['page-size'])}`,
    `multifd bytes: ${kbytes(ram['multifd-bytes'])}`,
    `pages-per-second: ${ram['pages-per-second']}`,
    ...unlessZero(ram['dirty-pages-rate'], `dirty pages rate: ${ram['dirty-pages-rate']} pages`),
    ...unlessZero(ram['postcopy-requests'], `postcopy request count: ${ram['postcopy-requests']}`),
    ...unlessZero(ram['precopy-bytes'], `precopy ram: ${kbytes(ram['precopy-bytes'])}`),
    ...unlessZero(ram['downtime-bytes'], `downtime ram: ${kbytes(ram['downtime-bytes'])}`),
    ...unlessZero(ram['postcopy-bytes'], `postcopy ram: ${kbytes(ram['postcopy-bytes'])}`),
  ];
}

function addressText(address: SocketAddress): string {
  switch (address.type) {
    case 'inet':
      return `tcp:${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'unix':
      return `unix:${address.path}`;
    case 'vsock':
      return `tcp:${address.cid}:${address.port}`;
    case 'fd':
      return `fd:${address.str}`;
  }
}

/** Parameters in the order of `info migrate_parameters`, and what follows their values. */
const PARAMETER_UNITS = {
  'announce-initial': ' ms',
  'announce-max': ' ms',
  'announce-rounds': '',
  'announce-step': ' ms',
  'compress-level': '',
  'compress-threads': '',
  'compress-wait-thread': '',
  'decompress-threads': '',
  'throttle-trigger-threshold': '',
  'cpu-throttle-initial': '',
  'cpu-throttle-increment': '',
  'cpu-throttle-tailslow': '',
  'max-cpu-throttle': '',
  'tls-creds': '',
  'tls-hostname': '',
  'max-bandwidth': ' bytes/second',
  'downtime-limit': ' ms',
  'x-checkpoint-delay': ' ms',
  'block-incremental': '',
  'multifd-channels': '',
  'multifd-compression': '',
  'xbzrle-cache-size': ' bytes',
  'max-postcopy-bandwidth': '',
  'tls-authz': '',
} as const;

/** The lines of `info migrate_parameters`. */
export function parametersText(parameters: CommandReturns<'query-migrate-parameters'>): string {
  const values = new Map<string, unknown>(Object.entries(parameters));
  return Object.entries(PARAMETER_UNITS)
    .filter(([name]) => values.has(name))
    .map(([name, unit]) => `${name}: ${parameterText(name, values.get(name))}${unit}\n`)
    .join('');
}

function parameterText(name: string, value: unknown): string {
  if (typeof value === 'boolean') return onOff(value);
  return name.startsWith('tls-') ? `'${value}'` : String(value);
}

export const INFO_MIGRATION = [
  command({
    name: 'migrate',
    help: 'state of the migration',
    run: async (_, { qmp, print }) => print(migrationText(await qmp('query-migrate'))),
  }),
  command({
    name: 'migrate_parameters',
    help: 'parameters of migrations',
    run: async (_, { qmp, print }) => print(parametersText(await qmp('query-migrate-parameters'))),
  }),
  command({
    name: 'migrate_capabilities',
    help: 'capabilities of migrations',
    async run(_, { qmp, print }) {
      for (const { capability, state } of await qmp('query-migrate-capabilities')) {
        print(`${capability}: ${onOff(state)}\n`);
      }
    },
  }),
  command({
    name: 'vcpu_dirty_limit',
    help: 'limits of how fast CPUs dirty memory',
    async run(_, { qmp, print }) {
      const limits = await qmp('query-vcpu-dirty-limit');
      if (limits.length === 0) print('Dirty page limit not enabled!\n');
      for (const { 'cpu-index': index, 'limit-rate': limit, 'current-rate': current } of limits) {
        print(`vcpu[${index}], limit rate ${limit} (MB/s), current rate ${current} (MB/s)\n`);
      }
    },
  }),
  command({
    name: 'mplm',
    help: 'policy, epochs and memory bound of the migration',
    async run(_, { qmp, print }) {
      const { mplm } = await qmp('query-migrate');
      if (mplm) print(mplmText(mplm));
    },
  }),
];

/** The lines of `info mplm`: what `query-migrate` has under `mplm`. */
export function mplmText(mplm: NonNullable<MigrationInfo['mplm']>): string {
  const { buffer, epochs, 'downtime-breakdown': breakdown } = mplm;
  const lines = [
    `policy: ${mplm.policy}`,
    `stage: ${mplm.stage}${mplm.extended ? ' (extended)' : ''}`,
    `intervaltime: ${mplm.intervaltime} s`,
    `dirtypercents: ${mplm.dirtypercents}`,
    `firstnondirty: ${onOff(mplm.firstnondirty)}`,
    `relaxlivemig: ${onOff(mplm.relaxlivemig)}`,
    `epoch: ${mplm.epoch}`,
    `non-dirty pages: ${mplm['non-dirty-pages']}`,
    `dirty pages: ${mplm['dirty-pages']}`,
    `buffer: ${kbytes(buffer['in-use'])} of ${kbytes(buffer.bound)}, peak ${kbytes(buffer.peak)}`,
  ];
  for (const epoch of epochs ?? []) {
    lines.push(
      `epoch ${epoch.epoch}: ${epoch['elapsed-ms']} ms, sent ${epoch['non-dirty-pages-sent']} non-dirty and ` +
        `${epoch['dirty-pages-sent']} dirty pages, ${epoch['new-dirty-pages']} newly dirty`,
    );
  }
  if (breakdown) {
    const parts = Object.entries(breakdown).map(([part, value]) => `${part} ${value}`);
    lines.push(`downtime: ${parts.join(', ')}`);
  }
  return lines.map((line) => `${line}\n`).join('');
}
