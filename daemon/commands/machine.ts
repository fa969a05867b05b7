/** Commands about what the machine is. */
import { cpuInstance } from '../cli/topology.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

export function machineCommands({ options, machine }: CommandTargets): CommandHandlers {
  return {
    'query-name': () => (options.name === undefined ? {} : { name: options.name }),
    'query-uuid': () => ({ UUID: options.uuid }),
    'query-kvm': () => ({ enabled: machine !== undefined, present: true }),
    'query-cpus-fast': () =>
      (machine?.vcpus ?? []).map((vcpu) => ({
        'cpu-index': vcpu.id,
        'qom-path': `/machine/unattached/device[${vcpu.id}]`,
        'thread-id': vcpu.threadId,
        props: cpuInstance(options.topology, vcpu.id),
        target: 'x86_64' as const,
      })),
  };
}
