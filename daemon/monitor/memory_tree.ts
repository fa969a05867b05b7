/** What the guest's addresses lead to, as `info mtree` shows it (softmmu/memory.c of QEMU). */
import { HOLE_END } from '../../kvm/guest_ram.js';
import type { Machine } from '../machine/machine.js';

/** The parts of a machine that have addresses. */
export type MappedMachine = Pick<Machine, 'vcpus'> & {
  readonly ram: Pick<Machine['ram'], 'slots' | 'ramBytes'>;
  readonly rom: Pick<Machine['rom'], 'byteLength'>;
  readonly devices: { readonly all: ReadonlyArray<Pick<Machine['devices']['all'][number], 'name' | 'pioRanges'>> };
};

interface Region {
  readonly start: number;
  readonly byteLength: number;
  readonly kind: 'ram' | 'rom' | 'i/o';
  readonly name: string;
  readonly priority?: number;
  /** The region it is a part of, and where in it. */
  readonly alias?: { readonly of: string; readonly offset: number };
}

const RAM_NAME = 'pc.ram';
const PORTS = 0x10000;

/** What the kernel serves itself: KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2, at the places a PC has them. */
const KERNEL_MMIO: readonly Region[] = [
  { start: 0xfec00000, byteLength: 0x1000, kind: 'i/o', name: 'kvm-ioapic' },
  { start: 0xfee00000, byteLength: 0x100000, kind: 'i/o', name: 'kvm-apic-msi', priority: 4096 },
];
const KERNEL_PORTS: readonly Region[] = [
  { start: 0x20, byteLength: 2, kind: 'i/o', name: 'kvm-pic' },
  { start: 0x40, byteLength: 4, kind: 'i/o', name: 'kvm-pit' },
  { start: 0x61, byteLength: 1, kind: 'i/o', name: 'pcspk' },
  { start: 0xa0, byteLength: 2, kind: 'i/o', name: 'kvm-pic' },
  { start: 0x4d0, byteLength: 1, kind: 'i/o', name: 'kvm-elcr' },
  { start: 0x4d1, byteLength: 1, kind: 'i/o', name: 'kvm-elcr' },
];

const byStart = (a: Region, b: Region) => a.start - b.start;

function memoryRegions({ ram, rom }: MappedMachine): Region[] {
  const slots = ram.slots.map(({ gpa, byteLength, offset }): Region => {
    const name = gpa < HOLE_END ? 'ram-below-4g' : 'ram-above-4g';
    return { start: gpa, byteLength, kind: 'ram', name, alias: { of: RAM_NAME, offset } };
  });
  const firmware: Region = {
    start: HOLE_END - rom.byteLength,
    byteLength: rom.byteLength,
    kind: 'rom',
    name: 'pc.bios',
  };
  return [...slots, firmware, ...KERNEL_MMIO].sort(byStart);
}

function portRegions({ devices }: MappedMachine): Region[] {
  const own = devices.all.flatMap(({ name, pioRanges }) =>
    pioRanges.map(({ port, length }): Region => ({ start: port, byteLength: length, kind: 'i/o', name })),
  );
  return [...own, ...KERNEL_PORTS].sort(byStart);
}

const hex = (value: number | bigint) => value.toString(16).padStart(16, '0');
const range = (start: number, byteLength: number) => `${hex(start)}-${hex(start + byteLength - 1)}`;

function line(indent: number, region: Region): string {
  const { start, byteLength, kind, name, priority = 0, alias } = region;
  const shown = alias ? `alias ${name} @${alias.of} ${range(alias.offset, byteLength)}` : name;
  return `${' '.repeat(indent)}${range(start, byteLength)} (prio ${priority}, ${kind}): ${shown}\n`;
}

const SYSTEM = `  ${hex(0)}-${hex(2n ** 64n - 1n)} (prio 0, i/o): system\n`;
const IO: Region = { start: 0, byteLength: PORTS, kind: 'i/o', name: 'io' };

/** Names of the address spaces that see memory: each vCPU's, and everybody's. */
function memorySpaces(machine: MappedMachine | undefined): string[] {
  return [...(machine?.vcpus ?? []).map(({ id }) => `cpu-memory-${id}`), 'memory'];
}

/** The tree of regions. */
export function memoryTree(machine: MappedMachine | undefined): string {
  const spaces = memorySpaces(machine).map((name) => `address-space: ${name}\n`);
  const memory = machine ? memoryRegions(machine).map((region) => line(4, region)) : [];
  const ports = machine ? portRegions(machine).map((region) => line(4, region)) : [];
  const ram: Region | undefined = machine && {
    start: 0,
    byteLength: machine.ram.ramBytes,
    kind: 'ram',
    name: RAM_NAME,
  };
  return [
    ...[...spaces, SYSTEM, ...memory, '\n'],
    ...['address-space: I/O\n', line(2, IO), ...ports, '\n'],
    ...(ram ? [`memory-region: ${RAM_NAME}\n`, line(2, ram), '\n'] : []),
  ].join('');
}

/** The same as a flat list of what an access meets. */
export function flatView(machine: MappedMachine | undefined): string {
  const spaces = memorySpaces(machine).map((name) => ` AS "${name}", root: system\n`);
  const memory = machine
    ? [' Root memory region: system\n', ...memoryRegions(machine).map(flatLine)]
    : [' Root memory region: (none)\n', '  No rendered FlatView\n'];
  const ports = withGaps(machine ? portRegions(machine) : []);
  return [
    ...['FlatView #0\n', ...spaces.reverse(), ...memory, '\n'],
    ...['FlatView #1\n', ' AS "I/O", root: io\n', ' Root memory region: io\n', ...ports.map(flatLine), '\n'],
  ].join('');
}

function flatLine({ start, byteLength, kind, name, priority = 0, alias }: Region): string {
  const offset = alias && alias.offset > 0 ? ` @${hex(alias.offset)}` : '';
  const slot = kind === 'i/o' ? '' : ' KVM';
  return `  ${range(start, byteLength)} (prio ${priority}, ${kind}): ${alias?.of ?? name}${offset}${slot}\n`;
}

/** Port regions with the unused ports between them. */
function withGaps(regions: readonly Region[]): Region[] {
  const all: Region[] = [];
  let at = 0;
  for (const region of [...regions, { ...IO, start: PORTS, byteLength: 0 }]) {
    if (region.start > at) {
      all.push({ ...IO, start: at, byteLength: region.start - at, alias: { of: IO.name, offset: at } });
    }
    if (region.byteLength > 0) all.push(region);
    at = region.start + region.byteLength;
  }
  return all;
}
