/** Commands about migration. */
import type { JsonObject } from '../../../protocol/json_value.js';
import type { MigrationInfo } from '../../../schemas/generated/qmp.js';
import { command, type MonitorContext } from '../command.js';
import { flag, integer, long, onOff, optional, word } from '../parameters.js';
import {
  capabilityNames,
  checkWord,
  migrationParameterNames,
  migrationParameterValue,
  migrationStatuses,
} from '../values.js';

/** How often a `migrate` that waits for its end looks whether it came. */
const POLL_MS = 100;

const migrate = command({
  name: 'migrate',
  params: '[-d] [-b] [-i] [-r] uri',
  help:
    'move the guest to another host (-d: do not wait for the end; -r: go on with a paused migration; ' +
    '-b and -i, with its disks, are refused: there are none)',
  args: { detach: flag('d'), blk: flag('b'), inc: flag('i'), resume: flag('r'), uri: word() },
  async run({ detach, blk, inc, resume, uri }, monitor) {
    await monitor.qmp('migrate', { uri, blk, inc, resume });
    if (detach) return;
    if (monitor.terminal) await migrationEnd(monitor);
    else monitor.print('terminal does not allow synchronous migration, continuing detached\n');
  },
});

/** Resolves when the migration is over, however it ended. */
async function migrationEnd({ qmp }: MonitorContext): Promise<void> {
  const over: ReadonlySet<MigrationInfo['status']> = new Set(['completed', 'failed', 'cancelled']);
  while (!over.has((await qmp('query-migrate')).status)) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const setParameter = command({
  name: 'migrate_set_parameter',
  params: 'parameter value',
  help: 'set one parameter of migrations',
  args: { parameter: word(), value: word() },
  async run({ parameter, value }, { qmp }) {
    checkWord(migrationParameterNames(), parameter);
    await qmp('migrate-set-parameters', { [parameter]: migrationParameterValue(parameter, value) });
  },
  complete: async ({ length }) => (length === 0 ? migrationParameterNames() : []),
});

const setCapability = command({
  name: 'migrate_set_capability',
  params: 'capability state',
  help: 'switch one capability of migrations on or off',
  args: { capability: word(), state: onOff },
  async run({ capability, state }, { qmp }) {
    checkWord(capabilityNames(), capability);
    await qmp('migrate-set-capabilities', { capabilities: [{ capability, state }] });
  },
  complete: async ({ length }) => [capabilityNames(), ['on', 'off']][length] ?? [],
});

/** As in qemu-mplm, every setting is given each time; flags by being there or not. */
const setMplm = command({
  name: 'set-mplm-migration',
  params: '[-n] [-f] [-r] intervaltime dirtypercents',
  help:
    'choose the policy of later migrations (-n: memory-bounded pre-copy, else classic pre-copy; -f: epoch 0 sends ' +
    'non-dirty pages only; -r: relaxed; intervaltime: seconds an epoch; dirtypercents: slots of 100 for dirty pages)',
  args: {
    enable: flag('n'),
    firstnondirty: flag('f'),
    relaxlivemig: flag('r'),
    intervaltime: integer,
    dirtypercents: integer,
  },
  run: ({ intervaltime, dirtypercents, ...flags }, { qmp }) =>
    qmp('set-mplm-migration', {
      ...flags,
      intervaltime: BigInt(intervaltime),
      dirtypercents: BigInt(dirtypercents),
    }),
});

const announceSelf = command({
  name: 'announce_self',
  params: '[interfaces] [id]',
  help: 'announce the guest on its networks: it has none',
  args: { interfaces: optional(word()), id: optional(word()) },
  async run({ interfaces, id }, { qmp }) {
    const parameters = await qmp('query-migrate-parameters');
    const members = ['initial', 'max', 'rounds', 'step'] as const;
    await qmp('announce-self', {
      ...Object.fromEntries(members.map((name) => [name, BigInt(parameters[`announce-${name}`] as bigint)])),
      ...(interfaces === undefined ? {} : { interfaces: interfaces.split(',') }),
      ...(id === undefined ? {} : { id }),
    });
  },
});

const migrateContinue = command({
  name: 'migrate_continue',
  params: 'state',
  help: 'go on with a migration that waits in this state',
  args: { state: word() },
  async run({ state }, { qmp }) {
    checkWord(migrationStatuses(), state);
    await qmp('migrate-continue', { state });
  },
  complete: async ({ length }) => (length === 0 ? migrationStatuses() : []),
});

const SEE_DIRTY_LIMIT = "[Please use 'info vcpu_dirty_limit' to query dirty limit for virtual CPU]\n";
const cpuMember = (index: bigint | undefined): JsonObject => (index === undefined ? {} : { 'cpu-index': index });

const setDirtyLimit = command({
  name: 'set_vcpu_dirty_limit',
  params: 'dirty_rate [cpu_index]',
  help: 'limit how fast CPUs dirty memory, in MB/s: not supported',
  args: { rate: long, index: optional(long) },
  async run({ rate, index }, { qmp, print }) {
    await qmp('set-vcpu-dirty-limit', { 'dirty-rate': rate, ...cpuMember(index) });
    print(SEE_DIRTY_LIMIT);
  },
});

const cancelDirtyLimit = command({
  name: 'cancel_vcpu_dirty_limit',
  params: '[cpu_index]',
  help: 'lift the limit of how fast CPUs dirty memory',
  args: { index: optional(long) },
  async run({ index }, { qmp, print }) {
    await qmp('cancel-vcpu-dirty-limit', cpuMember(index));
    print(SEE_DIRTY_LIMIT);
  },
});

export const MIGRATION_COMMANDS = [
  setDirtyLimit,
  cancelDirtyLimit,
  announceSelf,
  migrateContinue,
  command({
    name: 'migrate_pause',
    help: 'pause a post-copy migration: there is none',
    run: (_, { qmp }) => qmp('migrate-pause'),
  }),
  command({
    name: 'migrate_recover',
    params: 'uri',
    help: 'go on with a paused post-copy migration: there is none',
    args: { uri: word() },
    run: ({ uri }, { qmp }) => qmp('migrate-recover', { uri }),
  }),
  command({
    name: 'migrate_start_postcopy',
    help: 'change over to post-copy, which is not supported',
    run: (_, { qmp }) => qmp('migrate-start-postcopy'),
  }),
  migrate,
  command({
    name: 'migrate_cancel',
    help: 'cancel the migration that runs',
    run: (_, { qmp }) => qmp('migrate_cancel'),
  }),
  command({
    name: 'migrate_incoming',
    params: 'uri',
    help: 'say where a daemon started with -incoming defer waits for its guest',
    args: { uri: word() },
    run: ({ uri }, { qmp }) => qmp('migrate-incoming', { uri }),
  }),
  setParameter,
  setCapability,
  setMplm,
  command({
    name: 'live-checkpointing-enable',
    help: 'let the guest go on here after a migration: a checkpoint',
    run: (_, { qmp }) => qmp('live-checkpointing-enable'),
  }),
  command({
    name: 'live-checkpointing-disable',
    help: 'leave the guest paused here after a migration',
    run: (_, { qmp }) => qmp('live-checkpointing-disable'),
  }),
  command({
    name: 'enable-max-migration-rate-limit',
    help: 'lift max-bandwidth',
    run: (_, { qmp }) => qmp('enable-max-migration-rate-limit'),
  }),
  command({
    name: 'disable-max-migration-rate-limit',
    help: 'restore max-bandwidth',
    run: (_, { qmp }) => qmp('disable-max-migration-rate-limit'),
  }),
  command({
    name: 'set-mplm-extend-live',
    help: 'let the live stage go on after its end condition',
    run: (_, { qmp }) => qmp('set-mplm-extend-live'),
  }),
  command({
    name: 'set-mplm-end-live',
    help: 'end a live stage that was extended',
    run: (_, { qmp }) => qmp('set-mplm-end-live'),
  }),
];
