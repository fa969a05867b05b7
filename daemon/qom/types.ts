/** The types of QEMU's object model that there are here, by QEMU's names, with the properties that each adds to those of its parent. */

import { CPU_MODELS } from '../machine/cpu_models.js';
import { cpuTypeName } from '../machine/machine_types.js';

/** A property as qom-list and qom-list-properties tell it. */
export interface QomProperty {
  readonly name: string;
  readonly type: string;
  readonly description?: string;
  readonly 'default-value'?: unknown;
}

export interface QomType {
  readonly parent?: string;
  readonly abstract?: true;
  readonly properties: readonly QomProperty[];
}

function type(parent: string, ...properties: QomProperty[]): QomType {
  return { parent, properties };
}

function abstract(parent: string, ...properties: QomProperty[]): QomType {
  return { parent, abstract: true, properties };
}

const property = (name: string, kind: string, description?: string): QomProperty => ({
  name,
  type: kind,
  ...(description === undefined ? {} : { description }),
});

/** A property of a device that -device can set. */
const settable = (name: string, kind: string, value: number): QomProperty => ({
  name,
  type: kind,
  'default-value': value,
});

export const QOM_TYPES: { readonly [name: string]: QomType } = {
  object: { abstract: true, properties: [property('type', 'string')] },
  container: type('object'),

  machine: abstract(
    'object',
    property('kernel', 'string', 'kernel image'),
    property('memory', 'MemorySizeConfiguration', 'size of memory'),
    property('initrd', 'string', 'initial RAM disk'),
    property('graphics', 'bool', 'whether there is a display'),
    property('usb', 'bool', 'whether there is USB'),
    property('firmware', 'string', 'firmware image'),
    property('smp', 'SMPConfiguration', 'how vCPUs are arranged'),
    property('memory-backend', 'link<memory-backend>', 'where memory comes from'),
    property('append', 'string', 'kernel command line'),
  ),
  'none-machine': type('machine'),
  'x86-machine': abstract('machine'),
  'generic-pc-machine': abstract('x86-machine'),
  'pc-i440fx-7.2-machine': type('generic-pc-machine'),

  accel: type('object'),
  'kvm-accel': type('accel'),

  'memory-backend': abstract(
    'object',
    property('share', 'bool', 'whether other processes may have it too'),
    property('size', 'int', 'bytes'),
    property('prealloc', 'bool', 'whether all of it was allocated at the start'),
  ),
  'memory-backend-ram': type('memory-backend'),
  'memory-backend-memfd': type('memory-backend'),
  // Not one that -object makes. libvirt 9 reads its properties of every emulator, and crashes when they are refused.
  'memory-backend-file': type('memory-backend'),

  chardev: abstract('object'),
  'chardev-null': type('chardev'),
  'chardev-socket': type('chardev'),
  'chardev-fd': abstract('chardev'),
  'chardev-stdio': type('chardev-fd'),
  'chardev-file': type('chardev-fd'),
  'chardev-pipe': type('chardev-fd'),

  device: abstract(
    'object',
    property('parent_bus', 'link<bus>'),
    property('realized', 'bool'),
    property('hotplugged', 'bool'),
    property('hotpluggable', 'bool'),
  ),
  cpu: abstract('device'),
  'x86_64-cpu': abstract(
    'cpu',
    property('apic-id', 'uint32'),
    property('socket-id', 'int32'),
    property('die-id', 'int32'),
    property('core-id', 'int32'),
    property('thread-id', 'int32'),
  ),
  ...Object.fromEntries(CPU_MODELS.map(({ name }) => [cpuTypeName(name), type('x86_64-cpu')])),

  'sys-bus-device': abstract('device'),
  kvmclock: type('sys-bus-device'),
  'isa-device': abstract('device'),
  'kvm-i8259': type('isa-device'),
  'kvm-pit': type('isa-device'),
  mc146818rtc: type('isa-device'),
  i8042: type('isa-device'),
  port92: type('isa-device'),
  'isa-debug-exit': type('isa-device', settable('iosize', 'uint32', 2), settable('iobase', 'uint32', 0x501)),
  pvpanic: type('isa-device', settable('ioport', 'uint16', 0x505), settable('events', 'uint8', 3)),
  ib700: type('isa-device'),
  // The UART alone: QEMU's isa-serial would be what -device can make, and there is one port, by -serial.
  serial: type('device'),
};

/** The type of that name, or undefined. */
export function findType(name: string): QomType | undefined {
  return Object.hasOwn(QOM_TYPES, name) ? QOM_TYPES[name] : undefined;
}

/** True when a type is `ancestor` or descends from it. */
export function isA(name: string, ancestor: string): boolean {
  for (let at: string | undefined = name; at !== undefined; at = findType(at)?.parent) {
    if (at === ancestor) return true;
  }
  return false;
}

/** All properties of a type, those of its first ancestor first. */
export function propertiesOf(name: string): QomProperty[] {
  const { parent, properties = [] } = findType(name) ?? {};
  return [...(parent === undefined ? [] : propertiesOf(parent)), ...properties];
}
