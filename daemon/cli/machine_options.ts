/** What the machine is. */
import { CPU_MODELS } from '../machine/cpu_models.js';
import { parseCpu } from './cpu_option.js';
import type { MemoryBackend } from './daemon_options.js';
import { parseDevice } from './device_options.js';
import { KeyValues } from './key_values.js';
import type { Draft, OptionSpecs } from './option_spec.js';
import { parseTopology } from './topology.js';
import { parseMemory, parseNumber, UsageError } from './values.js';

const MAX_RAM_BYTES = 2 ** 42;

/** QEMU's names of the one machine there is, and of none. */
const MACHINES: Readonly<Record<string, 'pc' | 'none'>> = { pc: 'pc', 'pc-i440fx-7.2': 'pc', none: 'none' };

function machine(draft: Draft, value: string): void {
  const args = KeyValues.parse('-machine', value, 'type');
  const name = args.take('type');
  if (name !== undefined) {
    const type = Object.hasOwn(MACHINES, name) ? MACHINES[name] : undefined;
    if (!type) {
      throw new UsageError(`-machine: '${name}' is not supported, only ${Object.keys(MACHINES).join(', ')}`);
    }
    draft.machine.type = type;
  }
  // Accelerators in the order of preference.
  const accel = args.take('accel')?.split(':')[0];
  if (accel !== undefined) draft.accels.push({ option: '-machine accel', name: accel });
  const backend = args.take('memory-backend');
  if (backend !== undefined) draft.memoryBackendId = backend;
  args.finish();
}

function accel(draft: Draft, value: string): void {
  const args = KeyValues.parse('-accel', value, 'accel');
  draft.accels.push({ option: '-accel', name: args.required('accel') });
  args.finish();
}

function memory(draft: Draft, value: string): void {
  const args = KeyValues.parse('-m', value, 'size');
  const size = args.take('size');
  if (size !== undefined) draft.ramBytes = parseMemory('-m', size, MAX_RAM_BYTES);
  const slots = args.take('slots');
  const maxmem = args.take('maxmem');
  args.finish();
  if (
    (slots !== undefined && parseNumber('-m slots', slots, 0, 256) > 0) ||
    (maxmem !== undefined && parseMemory('-m maxmem', maxmem, MAX_RAM_BYTES) !== draft.ramBytes)
  ) {
    throw new UsageError(`-m: '${value}' is not supported: memory cannot be plugged later`);
  }
}

/** A size in bytes, without a suffix or with K, M, G or T. */
function backendSize(text: string): number {
  return parseMemory('-object size', /^\d+$/.test(text) ? `${Number(text) / 1024}K` : text, MAX_RAM_BYTES);
}

/** By QEMU's name: how the properties of an object are read. What is only kept gives a memory backend. */
const OBJECTS: Readonly<Record<string, (args: KeyValues, id: string) => MemoryBackend | undefined>> = {
  // libvirt always makes one; nothing here is encrypted, so nothing asks for it.
  secret: (args) => {
    for (const key of ['format', 'file', 'data', 'keyid', 'iv']) args.take(key);
    return undefined;
  },
  'memory-backend-ram': (args, id) => ({
    kind: 'memory-backend-ram',
    id,
    sizeBytes: backendSize(args.required('size')),
  }),
  'memory-backend-memfd': (args, id) => ({
    kind: 'memory-backend-memfd',
    id,
    sizeBytes: backendSize(args.required('size')),
  }),
};

function object(draft: Draft, value: string): void {
  const args = KeyValues.parseOrJson('-object', value, 'qom-type');
  const type = args.required('qom-type');
  const read = Object.hasOwn(OBJECTS, type) ? OBJECTS[type] : undefined;
  if (!read) throw new UsageError(`-object: '${type}' is not supported, only ${Object.keys(OBJECTS).join(', ')}`);
  const id = args.required('id');
  if (draft.backends.some((other) => other.id === id)) throw new UsageError(`-object: there is an '${id}' already`);
  const backend = read(args, id);
  args.finish();
  if (backend) draft.backends.push(backend);
}

/**
 * What only the whole command line tells: that KVM is the accelerator, and that the memory is one.
 * @throws UsageError
 */
export function checkMachine(draft: Draft): void {
  const [first] = draft.accels;
  if (first && first.name !== 'kvm')
    throw new UsageError(`${first.option}: '${first.name}' is not supported, only kvm`);
  if (first) draft.machine.accel = 'kvm';
  for (const backend of draft.backends) {
    if (backend.id !== draft.memoryBackendId) {
      throw new UsageError(
        `-object: the memory '${backend.id}' is not that of -machine memory-backend=, its one use here`,
      );
    }
    if (backend.sizeBytes !== draft.ramBytes) {
      throw new UsageError(
        `-object: the ${backend.sizeBytes} bytes of '${backend.id}' are not the ${draft.ramBytes} bytes of -m`,
      );
    }
    draft.machine.memoryBackend = backend;
  }
  if (draft.memoryBackendId !== undefined && !draft.machine.memoryBackend) {
    throw new UsageError(`-machine memory-backend: there is no -object '${draft.memoryBackendId}'`);
  }
  if (draft.bios !== undefined && draft.kernel !== undefined) {
    throw new UsageError('-bios is not supported with -kernel, which is entered without firmware');
  }
  if (draft.initrd !== undefined && draft.kernel === undefined) throw new UsageError('-initrd needs -kernel');
  if (draft.kernel !== undefined && draft.machine.type === 'none') {
    throw new UsageError("-kernel is not supported by a machine of type 'none'");
  }
  if (draft.append !== '' && draft.kernel === undefined) throw new UsageError('-append needs -kernel');
}

const MACHINE = {
  form: '[type=]pc|none[,accel=kvm][,memory-backend=ID]',
  help: 'machine type; none: a VM without RAM, vCPUs and devices (default pc)',
  apply: machine,
};

export const machineOptions: OptionSpecs = {
  '-machine': MACHINE,
  '-M': MACHINE,
  '-accel': { form: 'kvm', help: "accelerator: the kernel's", apply: accel },
  '-cpu': {
    form: 'MODEL[,+FEATURE][,-FEATURE][,FEATURE=on|off]',
    help: `${CPU_MODELS.map(({ name }) => name).join(', ')} (default host), with features added or taken away`,
    apply: (draft, value) => {
      draft.cpu = parseCpu(value);
    },
  },
  '-m': { form: '[size=]SIZE', help: 'guest memory, whole MiB (512, 512M, 2G; default 128M)', apply: memory },
  '-object': {
    form: 'memory-backend-ram|memory-backend-memfd|secret,id=ID[,size=SIZE]',
    help: 'guest memory by a name, for -machine memory-backend=; secrets are not read',
    apply: object,
  },
  '-smp': {
    form: '[cpus=]N[,sockets=N][,dies=N][,cores=N][,threads=N]',
    help: 'vCPUs (default 1), and how queries show them; the guest sees the cores of one socket',
    apply: (draft, value) => Object.assign(draft, parseTopology(KeyValues.parse('-smp', value, 'cpus'))),
  },
  '-kernel': {
    form: 'FILE',
    help: 'kernel: PVH ELF or 64-bit bzImage',
    apply: (draft, value) => {
      draft.kernel = value;
    },
  },
  '-initrd': {
    form: 'FILE',
    help: 'initial RAM disk',
    apply: (draft, value) => {
      draft.initrd = value;
    },
  },
  '-append': {
    form: 'TEXT',
    help: 'kernel command line',
    apply: (draft, value) => {
      draft.append = value;
    },
  },
  '-bios': {
    form: 'FILE',
    help: 'firmware image',
    apply: (draft, value) => {
      draft.bios = value;
    },
  },
  '-device': {
    form: 'isa-debug-exit[,iobase=N][,iosize=N]|pvpanic[,ioport=N][,events=N]|ib700',
    help: 'a port by which the guest ends the daemon; one by which it reports a panic; a watchdog',
    apply: (draft, value) => {
      draft.devices.push(parseDevice(KeyValues.parseOrJson('-device', value, 'driver'), draft.devices));
    },
  },
};
