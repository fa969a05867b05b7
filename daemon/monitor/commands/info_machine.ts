/** `info` about the machine and the monitor. */
import type { CommandName } from '../../../schemas/generated/qmp.js';
import { versionInfo } from '../../version.js';
import { command, type HmpCommand } from '../command.js';
import { flatView, memoryTree } from '../memory_tree.js';
import { flag } from '../parameters.js';

/** What QEMU shows of things this machine has none of. */
function nothing(name: string, help: string, text = ''): HmpCommand {
  return command({ name, help, run: (_, { print }) => print(text) });
}

/** A QMP command that is made for `info`: it returns the very text. */
function humanReadable(name: string, help: string, qmpName: CommandName & `x-query-${string}`): HmpCommand {
  return command({
    name,
    help,
    run: async (_, { qmp, print }) =>
      print(((await qmp(qmpName)) as { 'human-readable-text': string })['human-readable-text']),
  });
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
    async run(_, { qmp, print, cpu: current }) {
      for (const cpu of await qmp('query-cpus-fast')) {
        const mark = cpu['cpu-index'] === current.index ? '*' : ' ';
        print(`${mark} CPU #${cpu['cpu-index']}: thread_id=${cpu['thread-id']}\n`);
      }
    },
  }),
  command({
    name: 'hotpluggable-cpus',
    help: 'CPUs by their places',
    async run(_, { qmp, print }) {
      print('Hotpluggable CPUs:\n');
      for (const cpu of await qmp('query-hotpluggable-cpus')) {
        print(`  type: "${cpu.type}"\n  vcpus_count: "${cpu['vcpus-count']}"\n`);
        if (cpu['qom-path'] !== undefined) print(`  qom_path: "${cpu['qom-path']}"\n`);
        print('  CPUInstance Properties:\n');
        for (const [name, value] of Object.entries(cpu.props)) print(`    ${name}: "${value}"\n`);
      }
    },
  }),
  command({
    name: 'memory_size_summary',
    help: "size of the guest's memory",
    async run(_, { qmp, print }) {
      const { 'base-memory': base, 'plugged-memory': plugged } = await qmp('query-memory-size-summary');
      print(`base memory: ${base}\n`);
      if (plugged !== undefined) print(`plugged memory: ${plugged}\n`);
    },
  }),
  command({
    name: 'chardev',
    help: 'character devices: what sockets, files and monitors are on',
    async run(_, { qmp, print }) {
      for (const { label, filename } of await qmp('query-chardev')) print(`${label}: filename=${filename}\n`);
    },
  }),
  command({
    name: 'history',
    help: 'lines typed so far',
    run(_, { print, terminal }) {
      for (const [index, line] of (terminal?.history ?? []).entries()) print(`${index}: '${line}'\n`);
    },
  }),
  command({
    name: 'balloon',
    help: 'the balloon device: there is none',
    async run(_, { qmp, print }) {
      const { actual } = await qmp('query-balloon');
      print(`balloon: actual=${BigInt(actual) >> 20n}\n`);
    },
  }),
  command({
    name: 'mtree',
    params: '[-f][-D]',
    help: 'what addresses lead to (-f: as a flat list; -D: with what is disabled: nothing is)',
    args: { flat: flag('f'), disabled: flag('D') },
    run: ({ flat }, { machine, print }) => print(flat ? flatView(machine) : memoryTree(machine)),
  }),
  nothing('block', 'block devices: there are none'),
  nothing('blockstats', 'statistics of block devices: there are none'),
  nothing('block-jobs', 'jobs on block devices: there are none', 'No active jobs\n'),
  nothing('iothreads', 'I/O threads: there are none'),
  nothing('memory-devices', 'memory devices: there are none'),
  nothing('mice', 'mice: there are none', 'No mouse devices connected\n'),
  nothing('network', 'network devices: there are none'),
  nothing('pci', 'PCI devices: there are none'),
  nothing('tpm', 'TPM devices: there are none'),
  humanReadable('numa', 'NUMA nodes', 'x-query-numa'),
  humanReadable('usb', 'USB devices: there are none', 'x-query-usb'),
];
