import t from 'tap';
import { DaemonProcess } from '../../helpers/daemon.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { romFile } from '../../helpers/rom.js';

const skip = noKvm();
const DEBUG_EXIT = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'];

t.test('-bios: the first vCPU starts at the reset vector, in an image that cannot be written', { skip }, async (t) => {
  const code = [
    ...[0x2e, 0xc6, 0x06, 0x00, 0x01, 0x55], // movb $0x55, %cs:0x100
    ...[0x2e, 0xa0, 0x00, 0x01], // mov %cs:0x100, %al
    ...[0xe6, 0xf4], // out %al, $0xf4
  ];
  const daemon = new DaemonProcess(t, ['-bios', romFile(t, code, { 256: 7 }), ...DEBUG_EXIT]);
  t.equal(await daemon.exited, (7 << 1) | 1);
});

t.test('-bios: the image’s end is below 1 MiB too, and whole again after a reset', { skip }, async (t) => {
  const code = [
    ...[0xea, 0x05, 0x00, 0x00, 0xf0], // ljmp $0xf000, $5
    ...[0x2e, 0xa0, 0x00, 0x01], // mov %cs:0x100, %al
    ...[0x3c, 0x07, 0x75, 0x1a], // cmp $7, %al; jne the end
    ...[0x2e, 0xc6, 0x06, 0x00, 0x01, 0x55], // movb $0x55, %cs:0x100
    ...[0xb0, 0x38, 0xe6, 0x70, 0xe4, 0x71, 0x84, 0xc0], // index 0x38 of the CMOS RAM, which a reset leaves
    ...[0x74, 0x02], // jz: the first time round
    ...[0xe6, 0xf4], // out %al, $0xf4
    ...[0xb0, 0x09, 0xe6, 0x71, 0xb0, 0xfe, 0xe6, 0x64], // put 9 there; reset by the keyboard controller
  ];
  const daemon = new DaemonProcess(t, ['-bios', romFile(t, code, { 256: 7 }), ...DEBUG_EXIT]);
  t.equal(await daemon.exited, (9 << 1) | 1, 'the byte changed in the copy is 7 again');
});

t.test('a guest without kernel and firmware runs quietly, is stopped, reset and migrated', { skip }, async (t) => {
  const source = await TestDaemon.start(t);
  await source.qmp.execute('stop');
  await source.qmp.execute('cont');
  await source.qmp.execute('system_reset');
  t.equal(await source.status(), 'running');
  const { daemon: destination, uri } = await TestDaemon.destination(t);
  await source.qmp.execute('migrate', { uri });
  await source.event('MIGRATION', ({ data }) => data.status === 'completed');
  await destination.event('RESUME');
  t.equal(await destination.status(), 'running');
  t.same(
    source
      .eventNames()
      .filter((name) => !name.startsWith('MIGRATION'))
      .slice(-4), // the first RESUME may be earlier than the client
    ['STOP', 'RESUME', 'RESET', 'STOP'],
  );
});

t.test('a guest with firmware migrates only to a machine that has the same', { skip }, async (t) => {
  const bios = romFile(t, []);
  const source = await TestDaemon.start(t, { more: ['-bios', bios] });
  const other = await TestDaemon.destination(t);
  await source.qmp.execute('migrate', { uri: other.uri });
  await source.event('MIGRATION', ({ data }) => data.status === 'failed');
  t.match((await source.qmp.execute('query-migrate'))['error-desc'], /firmware: the source has/);
  const same = await TestDaemon.destination(t, { more: ['-bios', bios] });
  await source.qmp.execute('migrate', { uri: same.uri });
  await same.daemon.event('RESUME');
});

t.test('-bios names a file that cannot be firmware, and is not taken with -kernel', async (t) => {
  const daemon = new DaemonProcess(t, ['-bios', '/dev/null']);
  t.equal(await daemon.exited, 1);
  t.match(daemon.stderr, /could not load PC BIOS '\/dev\/null'/);
  const both = new DaemonProcess(t, ['-bios', '/dev/null', '-kernel', '/dev/null']);
  t.equal(await both.exited, 1);
  t.match(both.stderr, /-bios .*-kernel/);
});
