/** `info` about the machine and the monitor. */
import { versionInfo } from '../../version.js';
import { command, type HmpCommand } from '../command.js';

/** What QEMU shows of things this machine has none of. */
function nothing(name: string, help: string, text = ''): HmpCommand {
  return command({ name, help, run: (_, { print }) => print(text) });
}

export const INFO_MACHINE = [
  command({
    name: 'status',
    help: 'whether the guest runs',
    async run(_, { qmp, print }) {
      const { running, status } = await qmp('query-status');
      const state = running ? 'running' : 'paused';
      print(`VM status: ${state}${running || status === 'paused' ? '' : ` (${status})`}\n`);
    },
  }),
  command({
    name: 'version',
    help: 'version of the protocol and of the daemon',
    run(_, { print }) {
      const { qemu, package: packaged } = versionInfo();
      print(`${qemu.major}.${qemu.minor}.${qemu.micro}${packaged}\n`);
    },
  }),
  command({
    name: 'name',
    help: 'name of the guest',
    async run(_, { qmp, print }) {
      const { name } = await qmp('query-name');
      if (name !== undefined) print(`${name}\n`);
    },
  }),
  command({
    name: 'uuid',
    help: 'UUID of the guest',
    run: async (_, { qmp, print }) => print(`${(await qmp('query-uuid')).UUID}\n`),
  }),
  command({
    name: 'kvm',
    help: 'whether KVM is used',
    run: async (_, { qmp, print }) =>
      print(`kvm support: ${(await qmp('query-kvm')).enabled ? 'enabled' : 'disabled'}\n`),
  }),
  command({
    name: 'cpus',
    help: 'CPUs and their threads; * marks the current one',
    async run(_, { qmp, print, cpuIndex }) {
      for (const cpu of await qmp('query-cpus-fast')) {
        const mark = cpu['cpu-index'] === cpuIndex ? '*' : ' ';
        print(`${mark} CPU #${cpu['cpu-index']}: thread_id=${cpu['thread-id']}\n`);
      }
    },
  }),
  command({
    name: 'history',
    help: 'lines typed so far',
    run(_, { print, terminal }) {
      for (const [index, line] of (terminal?.history ?? []).entries()) print(`${index}: '${line}'\n`);
    },
  }),
  nothing('block', 'block devices: there are none'),
  nothing('blockstats', 'statistics of block devices: there are none'),
  nothing('block-jobs', 'jobs on block devices: there are none', 'No active jobs\n'),
  nothing('network', 'network devices: there are none'),
  nothing('numa', 'NUMA nodes: there are none', '0 nodes\n'),
  nothing('pci', 'PCI devices: there are none'),
];
