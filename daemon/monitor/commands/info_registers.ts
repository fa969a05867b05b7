/** `info registers`. */
import { command, type MonitorContext } from '../command.js';
import { flag, integer, optional } from '../parameters.js';
import { registersText } from '../registers.js';

async function show({ memory, print }: MonitorContext, vcpu: number): Promise<void> {
  print(`\nCPU#${vcpu}\n${registersText(await memory.registers(vcpu))}`);
}

export const INFO_REGISTERS = command({
  name: 'registers',
  params: '[-a|vcpu]',
  help: 'registers of the current CPU, of the one given, or of all (-a)',
  args: { all: flag('a'), vcpu: optional(integer) },
  async run({ all, vcpu }, monitor) {
    const { memory, cpu, print } = monitor;
    if (all) {
      for (let index = 0; memory.hasVcpu(index); index++) await show(monitor, index);
    } else if (memory.hasVcpu(vcpu ?? cpu.index)) {
      await show(monitor, vcpu ?? cpu.index);
    } else {
      print(vcpu === undefined ? 'No CPU available\n' : `CPU#${vcpu} not available\n`);
    }
  },
});
