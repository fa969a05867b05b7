/** `info mtree`: our regions in the form recorded from QEMU 7.2.22; without a machine all of it was recorded. */
import t from 'tap';
import { flatView, type MappedMachine, memoryTree } from '../../../daemon/monitor/memory_tree.js';

const MACHINE = {
  vcpus: [{ id: 0 }, { id: 1 }] as unknown as MappedMachine['vcpus'],
  ram: {
    ramBytes: 0x100000000,
    slots: [
      { slot: 0, gpa: 0, offset: 0, byteLength: 0xc0000000 },
      { slot: 1, gpa: 0x100000000, offset: 0xc0000000, byteLength: 0x40000000 },
    ],
  },
  rom: { byteLength: 0x10000 },
  devices: {
    all: [
      { name: 'serial0', pioRanges: [{ port: 0x3f8, length: 8 }] },
      { name: 'cmos', pioRanges: [{ port: 0x70, length: 2 }] },
    ],
  },
} satisfies MappedMachine;

t.test('the tree shows memory, ports and what is behind them, in order of address', async (t) => {
  t.equal(
    memoryTree(MACHINE),
    `address-space: cpu-memory-0
address-space: cpu-memory-1
address-space: memory
  0000000000000000-ffffffffffffffff (prio 0, i/o): system
    0000000000000000-00000000bfffffff (prio 0, ram): alias ram-below-4g @pc.ram 0000000000000000-00000000bfffffff
    00000000fec00000-00000000fec00fff (prio 0, i/o): kvm-ioapic
    00000000fee00000-00000000feefffff (prio 4096, i/o): kvm-apic-msi
    00000000ffff0000-00000000ffffffff (prio 0, rom): pc.bios
    0000000100000000-000000013fffffff (prio 0, ram): alias ram-above-4g @pc.ram 00000000c0000000-00000000ffffffff

address-space: I/O
  0000000000000000-000000000000ffff (prio 0, i/o): io
    0000000000000020-0000000000000021 (prio 0, i/o): kvm-pic
    0000000000000040-0000000000000043 (prio 0, i/o): kvm-pit
    0000000000000061-0000000000000061 (prio 0, i/o): pcspk
    0000000000000070-0000000000000071 (prio 0, i/o): cmos
    00000000000000a0-00000000000000a1 (prio 0, i/o): kvm-pic
    00000000000003f8-00000000000003ff (prio 0, i/o): serial0
    00000000000004d0-00000000000004d0 (prio 0, i/o): kvm-elcr
    00000000000004d1-00000000000004d1 (prio 0, i/o): kvm-elcr

memory-region: pc.ram
  0000000000000000-00000000ffffffff (prio 0, ram): pc.ram

`,
  );
});

t.test('the flat view has every port once, unused ones as parts of io', async (t) => {
  const text = flatView(MACHINE);
  t.match(text, /^FlatView #0\n AS "memory", root: system\n AS "cpu-memory-1", root: system\n AS "cpu-memory-0", /);
  t.match(text, '  0000000000000000-00000000bfffffff (prio 0, ram): pc.ram KVM\n');
  t.match(text, '  0000000100000000-000000013fffffff (prio 0, ram): pc.ram @00000000c0000000 KVM\n');
  t.match(text, '  00000000ffff0000-00000000ffffffff (prio 0, rom): pc.bios KVM\n');
  const ports = text.slice(text.indexOf('FlatView #1'));
  let next = 0;
  for (const [, start, end, name] of ports.matchAll(/^ {2}(\w{16})-(\w{16}) \(prio 0, i\/o\): (.*)$/gm)) {
    t.equal(Number(`0x${start}`), next);
    if (name?.startsWith('io @')) t.equal(name, `io @${start}`);
    next = Number(`0x${end}`) + 1;
  }
  t.equal(next, 0x10000);
});

t.test('without a machine there are the two address spaces, empty', async (t) => {
  t.equal(
    memoryTree(undefined),
    'address-space: memory\n  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n\n' +
      'address-space: I/O\n  0000000000000000-000000000000ffff (prio 0, i/o): io\n\n',
  );
  t.equal(
    flatView(undefined),
    'FlatView #0\n AS "memory", root: system\n Root memory region: (none)\n  No rendered FlatView\n\n' +
      'FlatView #1\n AS "I/O", root: io\n Root memory region: io\n  0000000000000000-000000000000ffff (prio 0, i/o): io\n\n',
  );
});
