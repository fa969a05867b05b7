/** Commands about what the machine is. */
import { accessSync, constants } from 'node:fs';
import { genericError } from '../../protocol/qmp_errors.js';
import type { MachineInfo } from '../../schemas/generated/qmp.js';
import { cpuInstance } from '../cli/topology.js';
import { cpuTypeName, MACHINE_TYPES, PC_RAM_ID } from '../machine/machine_types.js';
import { cpuQomPath } from '../machine/qom_paths.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

export function machineCommands({ options, machine, chardevs }: CommandTargets): CommandHandlers {
  const vcpus = machine?.vcpus ?? [];
  const ramBytes = machine?.options.ramBytes ?? 0;
  const backend = options.machine.memoryBackend;
  return {
    'query-name': () => (options.name === undefined ? {} : { name: options.name }),
    'query-chardev': () => chardevs.query(),
    'query-uuid': () => ({ UUID: options.uuid }),
    'query-target': () => ({ arch: 'x86_64' }),
    'query-kvm': () => {
      const present = kvmIsPresent();
      // Without a machine QEMU's default is TCG; of accel=kvm:tcg it takes the first that is there.
      return { enabled: machine !== undefined || (present && options.machine.accel === 'kvm'), present };
    },
    'query-machines': () => MACHINE_TYPES as MachineInfo[],
    'query-current-machine': () => ({ 'wakeup-suspend-support': machine !== undefined }),
    'query-cpus-fast': () =>
      vcpus.map((vcpu) => ({
        'cpu-index': vcpu.id,
        'qom-path': cpuQomPath(vcpu.id),
        'thread-id': vcpu.threadId,
        props: cpuInstance(options.topology, vcpu.id),
        target: 'x86_64' as const,
      })),
    'query-hotpluggable-cpus': () => {
      if (!machine) throw genericError("The feature 'query-hotpluggable-cpus' is not enabled");
      const places = vcpus.map((vcpu) => ({
        type: cpuTypeName(options.cpu.model),
        'vcpus-count': 1,
        props: cpuInstance(options.topology, vcpu.id),
        'qom-path': cpuQomPath(vcpu.id),
      }));
      return places.reverse();
    },
    'query-memory-size-summary': () => ({ 'base-memory': ramBytes, 'plugged-memory': 0 }),
    'query-memdev': () => {
      if (!machine) return [];
      const share = backend?.kind === 'memory-backend-memfd';
      const id = backend?.id ?? PC_RAM_ID;
      const allowed = { merge: true, dump: true, prealloc: false, share, reserve: true };
      return [{ id, size: ramBytes, ...allowed, 'host-nodes': [], policy: 'default' }];
    },
  };
}

/** Whether this process may use the host's KVM now. */
function kvmIsPresent(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
