/** `-smp`: how many vCPUs, and how they are arranged. */
import type { KeyValues } from './key_values.js';
import { UsageError } from './values.js';

export interface CpuTopology {
  readonly sockets: number;
  /** In a socket. */
  readonly dies: number;
  /** In a die. */
  readonly cores: number;
  /** In a core. */
  readonly threads: number;
}

export const MAX_VCPUS = 255;

/**
 * Completes what was left out as QEMU's machines of version 6.2 and later do (hw/core/machine-smp.c): cores before sockets before threads.
 * @throws UsageError where the parts do not multiply to the number of vCPUs, or some vCPUs would be plugged later
 */
export function parseTopology(args: KeyValues): { vcpus: number; topology: CpuTopology } {
  const number = (key: string) => args.number(key, { min: 1, max: MAX_VCPUS, absent: undefined });
  const cpus = number('cpus');
  const maxcpus = number('maxcpus');
  const dies = number('dies') ?? 1;
  const clusters = number('clusters') ?? 1;
  let sockets = number('sockets');
  let cores = number('cores');
  let threads = number('threads');
  args.finish();
  if (clusters !== 1) throw new UsageError(`-smp clusters: '${clusters}' is not supported, only 1`);
  const total = maxcpus ?? cpus;
  if (total !== undefined && cores === undefined) {
    sockets ??= 1;
    threads ??= 1;
    cores = Math.floor(total / (sockets * dies * threads));
  } else if (total !== undefined && cores !== undefined && sockets === undefined) {
    threads ??= 1;
    sockets = Math.floor(total / (dies * cores * threads));
  }
  sockets ??= 1;
  cores ??= 1;
  threads ??= total === undefined ? 1 : Math.floor(total / (sockets * dies * cores));
  const product = sockets * dies * cores * threads;
  const words = `sockets (${sockets}) * dies (${dies}) * cores (${cores}) * threads (${threads})`;
  if (total !== undefined && product !== total) {
    throw new UsageError(
      `-smp: Invalid CPU topology: product of the hierarchy must match maxcpus: ${words} != maxcpus (${total})`,
    );
  }
  const vcpus = cpus ?? product;
  if (product > MAX_VCPUS) throw new UsageError(`-smp: ${product} vCPUs are more than ${MAX_VCPUS}`);
  if (vcpus > product) {
    throw new UsageError(
      `-smp: Invalid CPU topology: maxcpus must be equal to or greater than smp: ${words} == maxcpus (${product}) < smp_cpus (${vcpus})`,
    );
  }
  if (vcpus < product) {
    throw new UsageError(
      `-smp: maxcpus (${product}) beyond the ${vcpus} vCPUs is not supported: vCPUs cannot be plugged later`,
    );
  }
  return { vcpus, topology: { sockets, dies, cores, threads } };
}

/** Where vCPU number `index` is, as QEMU's CpuInstanceProperties. */
export function cpuInstance({ dies, cores, threads }: CpuTopology, index: number) {
  const core = Math.floor(index / threads);
  const die = Math.floor(core / cores);
  return {
    'socket-id': Math.floor(die / dies),
    ...(dies > 1 ? { 'die-id': die % dies } : {}),
    'core-id': core % cores,
    'thread-id': index % threads,
  };
}
