/** Commands about CPU models. */
import { cpuDefinitions, expandCpuModel, hostCpuid } from '../machine/cpu_expansion.js';
import type { CommandHandlers } from '../qmp/server.js';

export const cpuCommands: CommandHandlers = {
  'query-cpu-definitions': () => cpuDefinitions(hostCpuid()),
  'query-cpu-model-expansion': ({ type, model }) => ({ model: expandCpuModel(type, model, hostCpuid()) }),
};
