/** QMP `query-stats` and `query-stats-schemas`: KVM's own figures of the VM and of each vCPU, in QEMU's shapes. */
import { type Statistic, takeStatistics } from '../../kvm/stats.js';
import type {
  CommandArguments,
  StatsResult,
  StatsSchema,
  StatsSchemaValue,
  StatsTarget,
  StatsValue,
} from '../../schemas/generated/qmp.js';
import type { Machine } from '../machine/machine.js';
import { cpuQomPath } from '../machine/qom_paths.js';
import type { VcpuThread } from '../vcpu/vcpu_thread.js';

/** Every figure that a filter asks for, of the VM or of each vCPU: what QEMU prepends to a list comes last here, and the list is turned round. */
export async function queryStats(machine: Machine | undefined, filter: StatsFilter): Promise<StatsResult[]> {
  const sources = await figures(machine, filter);
  const results: StatsResult[] = [];
  for (const { names } of filter.providers ?? [{ names: undefined }]) {
    for (const { qomPath, statistics } of sources) {
      const stats = statistics
        .filter(({ name }) => names === undefined || names.includes(name))
        .map((statistic) => ({ name: statistic.name, value: statisticValue(statistic) }))
        .reverse();
      if (stats.length === 0) continue;
      results.push({ provider: 'kvm', ...(qomPath === undefined ? {} : { 'qom-path': qomPath }), stats });
    }
  }
  return results.reverse();
}

/** What the figures are, those of vCPUs first. */
export async function queryStatsSchemas(machine: Machine | undefined): Promise<StatsSchema[]> {
  if (!machine) return [];
  const schema = (target: StatsTarget, statistics: readonly Statistic[]): StatsSchema => ({
    provider: 'kvm',
    target,
    stats: statistics.map(schemaOf).reverse(),
  });
  const vcpu = await ofVcpu(machine.vcpus[0] as VcpuThread);
  return [schema('vcpu', vcpu), schema('vm', takeStatistics(machine.vm.statsFd()))];
}

type StatsFilter = CommandArguments<'query-stats'>;

interface Figures {
  readonly qomPath?: string;
  readonly statistics: readonly Statistic[];
}

async function figures(machine: Machine | undefined, filter: StatsFilter): Promise<Figures[]> {
  if (!machine || filter.providers?.length === 0) return [];
  if (filter.target === 'vm') return [{ statistics: takeStatistics(machine.vm.statsFd()) }];
  const wanted = machine.vcpus.filter(({ id }) => filter.vcpus?.includes(cpuQomPath(id)) ?? true);
  return Promise.all(wanted.map(async (vcpu) => ({ qomPath: cpuQomPath(vcpu.id), statistics: await ofVcpu(vcpu) })));
}

/** Only the vCPU's own thread may open them; reading them does not disturb it. */
async function ofVcpu(vcpu: VcpuThread): Promise<Statistic[]> {
  return takeStatistics(await vcpu.request({ type: 'stats-fd' }));
}

function statisticValue({ type, unit, values }: Statistic): StatsValue {
  if (type === 'linear-histogram' || type === 'log2-histogram') return [...values];
  const [value = 0n] = values;
  return unit === 'boolean' ? value !== 0n : value;
}

function schemaOf({ name, type, unit, base, exponent, bucketSize }: Statistic): StatsSchemaValue {
  return {
    name,
    type,
    ...(unit === 'none' ? {} : { unit }),
    ...(exponent === 0 ? {} : { base }),
    exponent,
    ...(type === 'linear-histogram' ? { 'bucket-size': bucketSize } : {}),
  };
}
