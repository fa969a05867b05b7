import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { outb, romFile } from '../../helpers/rom.js';

const skip = noKvm();
const COM1 = 0x3f8;

/** Sets bits of a model-specific register: `mov $msr, %ecx; rdmsr; or $bits, %eax; wrmsr`. */
function setMsr(msr: number, bits: number): number[] {
  const u32 = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
  return [...[0x66, 0xb9, ...u32(msr), 0x0f, 0x32], ...[0x66, 0x0d, ...u32(bits), 0x0f, 0x30]];
}

/** Vector 2 goes to `handler` in the image; a line on the serial port says that the guest is ready. */
function rom(lint1: number[], handler: number): number[] {
  const install = [
    ...[0x31, 0xc0, 0x8e, 0xd8, 0xbc, 0x00, 0x70, 0x8e, 0xd0], // xor %ax, %ax; mov %ax, %ds; mov $0x7000, %sp; mov %ax, %ss
    ...[0xc7, 0x06, 0x08, 0x00, handler & 0xff, handler >> 8], // movw $handler, 8
    ...[0x8c, 0xc8, 0xa3, 0x0a, 0x00], // mov %cs, %ax; mov %ax, 10
  ];
  return [0xea, 0x05, 0x00, 0x00, 0xf0, ...install, ...lint1, ...outb(COM1, 'R'.charCodeAt(0)), ...outb(COM1, 10)];
}

const HANDLER = 0x200;
const handler = [...outb(COM1, 'N'.charCodeAt(0)), ...outb(COM1, 10), 0xcf];
const data = Object.fromEntries(handler.map((byte, i) => [HANDLER + i, byte]));
/** The local APIC in x2APIC mode and switched on, its LINT1 input an NMI: `mov $msr, %ecx; mov $value, %eax; xor %edx, %edx; wrmsr`. */
const CONNECTED = [
  ...setMsr(0x1b, 0xc00),
  ...setMsr(0x80f, 0x100),
  ...[0x66, 0xb9, 0x36, 8, 0, 0, 0x66, 0xb8, 0, 4, 0, 0, 0x66, 0x31, 0xd2, 0x0f, 0x30],
];

t.test('inject-nmi interrupts a guest that listens to the NMI line, halted or not, each time', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-bios', romFile(t, rom(CONNECTED, HANDLER), data)] });
  await daemon.line(/^R/);
  for (let i = 0; i < 3; i++) {
    const interrupted = daemon.nextLine(/^N/);
    await daemon.qmp.execute('inject-nmi');
    await interrupted;
  }
  t.equal(await daemon.status(), 'running');
  await daemon.qmp.execute('stop');
  const interrupted = daemon.nextLine(/^N/);
  await daemon.qmp.execute('inject-nmi');
  await daemon.qmp.execute('cont');
  await interrupted;
});

t.test('inject-nmi does nothing to a guest that has not set its local APIC up for it', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-bios', romFile(t, rom([], HANDLER), data)] });
  await daemon.line(/^R/);
  await daemon.qmp.execute('inject-nmi');
  await daemon.qmp.execute('stop');
  t.notMatch(daemon.text, 'N');
});

t.test('inject-nmi without a machine is refused in QEMU’s words', async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-machine', 'none'] });
  await t.rejects(daemon.qmp.execute('inject-nmi'), {
    message: 'this feature or command is not currently supported',
  });
});
