/** The tree of what a daemon has, laid out as QEMU's of a pc: what it has too is at the same path, of the same type. */
import type { DaemonOptions } from '../cli/daemon_options.js';
import { cpuInstance } from '../cli/topology.js';
import { cpuTypeName, PC_MACHINE, PC_RAM_ID } from '../machine/machine_types.js';
import { cpuQomPath, rtcQomPath } from '../machine/qom_paths.js';
import { QomObject, type QomValues } from './object.js';

const container = () => new QomObject('container');

/** Values that every device has. */
function device(type: string, values: QomValues = {}): QomObject {
  return new QomObject(type, { realized: true, hotplugged: false, hotpluggable: false, ...values });
}

/** Builds the tree. */
export function qomTree(options: DaemonOptions): QomObject {
  const root = container();
  const isPc = options.machine.type === 'pc';
  const memory = isPc ? memoryBackend(options) : undefined;
  const machine = root.add(
    'machine',
    new QomObject(isPc ? `${PC_MACHINE}-machine` : 'none-machine', {
      ...machineValues(options),
      'memory-backend': memory?.object,
    }),
  );
  // After the machine, as in QEMU: the order of children depends on it.
  if (memory) root.add('objects', container()).add(memory.id, memory.object);
  const unattached = machine.add('unattached', container());
  const anonymous = machine.add('peripheral-anon', container());
  const peripheral = machine.add('peripheral', container());
  if (isPc) addBoard(unattached, options);
  let unnamed = 0;
  for (const { driver, id, ...values } of options.devices) {
    const place = id === undefined ? anonymous : peripheral;
    place.add(id ?? `device[${unnamed++}]`, device(driver, values));
  }
  const chardevs = root.add('chardevs', container());
  for (const { id, backend } of options.chardevs) chardevs.add(id, new QomObject(`chardev-${backend.kind}`));
  return root;
}

function memoryBackend({ machine, ramBytes }: DaemonOptions): { id: string; object: QomObject } {
  const { id, kind } = machine.memoryBackend ?? { id: PC_RAM_ID, kind: 'memory-backend-ram' };
  const share = kind === 'memory-backend-memfd';
  return { id, object: new QomObject(kind, { share, size: ramBytes, prealloc: false }) };
}

function machineValues({ kernel, initrd, append, bios, vcpus, topology, machine, ramBytes }: DaemonOptions): QomValues {
  const { sockets, dies, cores, threads } = topology;
  return {
    kernel: kernel ?? '',
    memory: { size: machine.type === 'pc' ? ramBytes : 0 },
    initrd: initrd ?? '',
    graphics: false,
    usb: false,
    firmware: bios ?? '',
    smp: { cpus: vcpus, sockets, dies, clusters: 1, cores, threads, maxcpus: vcpus },
    append,
  };
}

const lastPart = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/** What the board has, in the places where QEMU's has it. */
function addBoard(unattached: QomObject, { vcpus, topology, cpu }: DaemonOptions): void {
  for (let index = 0; index < vcpus; index++) {
    // vCPUs are numbered as their APICs are (daemon/machine/cpuid.ts).
    const values = { 'apic-id': index, 'die-id': 0, ...cpuInstance(topology, index) };
    unattached.add(lastPart(cpuQomPath(index)), device(cpuTypeName(cpu.model), values));
  }
  // QEMU numbers what it makes after the vCPUs; the gaps are what it has and this board has not.
  const place = (offset: number) => `device[${vcpus + offset}]`;
  unattached.add(place(1), device('kvmclock'));
  unattached.add(place(6), device('kvm-i8259'));
  unattached.add(place(7), device('kvm-i8259'));
  unattached.add(lastPart(rtcQomPath(vcpus)), device('mc146818rtc'));
  unattached.add(place(10), device('kvm-pit'));
  unattached.add(place(13), device('i8042'));
  unattached.add(place(16), device('port92'));
  unattached.add('serial', device('serial'));
}
