/** The types of machine there are, as query-machines and -machine name them. */
import type { MachineInfo } from '../../schemas/generated/qmp.js';
import { HOST_CPU } from './cpu_models.js';

/** What a machine and its guest RAM are called. */
export const PC_MACHINE = 'pc-i440fx-7.2';
export const PC_RAM_ID = 'pc.ram';

/** The type of a model's vCPUs. */
export function cpuTypeName(model: string): string {
  return `${model}-x86_64-cpu`;
}

/** Named and described as QEMU does, so that clients start unchanged. */
export const MACHINE_TYPES: readonly MachineInfo[] = [
  {
    name: 'none',
    'cpu-max': 1,
    'hotpluggable-cpus': false,
    'numa-mem-supported': false,
    deprecated: false,
    'default-ram-id': 'ram',
  },
  {
    name: PC_MACHINE,
    alias: 'pc',
    'is-default': true,
    'cpu-max': 255,
    'hotpluggable-cpus': true,
    'numa-mem-supported': false,
    deprecated: false,
    'default-cpu-type': cpuTypeName(HOST_CPU.model),
    'default-ram-id': PC_RAM_ID,
  },
];
