import t from 'tap';
import { MEANINGLESS, parseOptions } from '../../../daemon/cli/options.js';
import { UsageError } from '../../../daemon/cli/values.js';

const MIB = 2 ** 20;
const parse = (line: string) => parseOptions(line.split(' ').filter(Boolean));

function refusal(line: string): string {
  try {
    parse(line);
    return 'none';
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return error.message;
  }
}

t.test('without options there is a machine of QEMU’s default size that waits for nothing', (t) => {
  t.same(parse(''), {
    machine: { type: 'pc' },
    ramBytes: 128 * MIB,
    vcpus: 1,
    append: '',
    qmp: [],
    serial: { kind: 'null' },
    paused: false,
    uuid: '00000000-0000-0000-0000-000000000000',
    noReboot: false,
    noShutdown: false,
  });
  t.end();
});

t.test('options are read in QEMU’s forms, with one dash or two', (t) => {
  for (const [line, bytes] of [
    ['-m 512', 512 * MIB],
    ['-m 512M', 512 * MIB],
    ['-m 2G', 2048 * MIB],
    ['-m size=2g', 2048 * MIB],
    ['-m 1048576K', 1024 * MIB],
    ['--m 0.5G', 512 * MIB],
    ['-m 1T', 2 ** 40],
  ] as const) {
    t.equal(parse(line).ramBytes, bytes, line);
  }
  t.equal(parse('-smp 4').vcpus, 4);
  t.equal(parse('-smp cpus=4').vcpus, 4);
  t.match(parse('-kernel K -initrd I'), { kernel: 'K', initrd: 'I' });
  t.equal(parseOptions(['-kernel', 'K', '-append', 'a=1 b -S']).append, 'a=1 b -S');
  t.match(parse('-name vm1'), { name: 'vm1' });
  t.match(parse('-name guest=vm1'), { name: 'vm1' });
  t.equal(parse('-uuid 11111111-2222-3333-4444-AAAAAAAAAAAA').uuid, '11111111-2222-3333-4444-aaaaaaaaaaaa');
  t.match(parse('-S -no-reboot --no-shutdown -pidfile P -incoming defer'), {
    paused: true,
    noReboot: true,
    noShutdown: true,
    pidfile: 'P',
    incoming: 'defer',
  });
  t.same(parse(`${MEANINGLESS.join(' ')} -accel kvm -display none`), parse(''), 'what means nothing changes nothing');
  t.end();
});

t.test('QMP sockets may be several, each with its address, form and waiting', (t) => {
  t.same(
    parse('-qmp unix:/a,server=on,wait=off -qmp-pretty tcp:127.0.0.1:0,server,nowait -qmp tcp::44,server=on').qmp,
    [
      { address: { kind: 'unix', path: '/a' }, pretty: false, wait: false },
      { address: { kind: 'tcp', host: '127.0.0.1', port: 0 }, pretty: true, wait: false },
      { address: { kind: 'tcp', host: '0.0.0.0', port: 44 }, pretty: false, wait: true },
    ],
  );
  t.same(parse('-qmp tcp:[::1]:5,server=on,wait=off').qmp[0]?.address, { kind: 'tcp', host: '::1', port: 5 });
  t.end();
});

t.test('the serial port goes to a file, a socket of either kind, standard output or nowhere', (t) => {
  t.same(parse('-serial null').serial, { kind: 'null' });
  t.same(parse('-serial none').serial, { kind: 'null' });
  t.same(parse('-serial stdio').serial, { kind: 'stdio' });
  t.same(parse('-serial file:/a,b').serial, { kind: 'file', path: '/a,b' });
  t.same(parse('-serial unix:/s').serial, { kind: 'unix', path: '/s', server: false, wait: false });
  t.same(parse('-serial unix:/s,server=on').serial, { kind: 'unix', path: '/s', server: true, wait: true });
  t.same(parse('-serial unix:/s,server,nowait').serial, { kind: 'unix', path: '/s', server: true, wait: false });
  t.end();
});

t.test('the debug-exit device takes QEMU’s properties and defaults', (t) => {
  t.same(parse('-device isa-debug-exit').debugExit, { iobase: 0x501, iosize: 2 });
  t.same(parse('-device isa-debug-exit,iobase=0xf4,iosize=4').debugExit, { iobase: 0xf4, iosize: 4 });
  t.same(parse('-device driver=isa-debug-exit,iobase=244').debugExit, { iobase: 244, iosize: 2 });
  t.end();
});

t.test('what is not supported or makes no sense is refused with the option and the value', (t) => {
  for (const [line, text] of [
    ['-vnc :0', '-vnc: invalid option'],
    ['-drive file=x', '-drive: invalid option'],
    ['image.qcow2', "'image.qcow2' is no option"],
    ['toString', "'toString' is no option"],
    ['constructor', "'constructor' is no option"],
    ['-', '-: invalid option'],
    ['--', '--: invalid option'],
    ['-m', '-m: requires an argument'],
    ['-m 0', "-m: '0' is no size of memory: whole MiB, from 1M to 4T"],
    ['-m 1.5M', "-m: '1.5M' is no size of memory: whole MiB, from 1M to 4T"],
    ['-m 5T', "-m: '5T' is no size of memory: whole MiB, from 1M to 4T"],
    ['-m -5', "-m: '-5' is no size of memory: whole MiB, from 1M to 4T"],
    ['-m 1e3', "-m: '1e3' is no size of memory: whole MiB, from 1M to 4T"],
    ['-m 512,slots=2', "-m: 'slots=2' is not supported"],
    ['-smp 0', "-smp: '0' is no number from 1 to 255"],
    ['-smp 256', "-smp: '256' is no number from 1 to 255"],
    ['-smp two', "-smp: 'two' is no number from 1 to 255"],
    ['-smp 2,sockets=2', "-smp: 'sockets=2' is not supported"],
    ['-name a,debug-threads=on', "-name: 'debug-threads=on' is not supported"],
    ['-uuid 1234', "-uuid: '1234' is no UUID"],
    ['-accel tcg', "-accel: 'tcg' is not supported, only kvm"],
    ['-display gtk', "-display: 'gtk' is not supported, only none"],
    ['-device virtio-net', "-device: 'virtio-net' is not a device of vmhostd"],
    ['-device isa-debug-exit,iobase=65536', "-device iobase: '65536' is no number from 0 to 65535"],
    ['-device isa-debug-exit,iosize=9', "-device iosize: '9' is no number from 1 to 8"],
    ['-device isa-debug-exit -device isa-debug-exit', "-device 'isa-debug-exit': there is one already"],
    ['-qmp unix:/a', "-qmp: connecting out is not supported, 'unix:/a' needs server=on"],
    ['-qmp stdio,server=on', "-qmp: 'stdio' is neither unix:PATH nor tcp:HOST:PORT"],
    ['-qmp tcp:h:65536,server=on', "-qmp: '65536' is no number from 0 to 65535"],
    ['-qmp unix:/a,server=on,wait=maybe', "-qmp wait: 'maybe' is neither on nor off"],
    ['-qmp unix:/a,server=on,tls=on', "-qmp: 'tls=on' is not supported"],
    ['-serial tcp::4', "-serial: 'tcp::4' is none of stdio, file:PATH, unix:PATH[,server=on[,wait=off]], null"],
    ['-serial file:', "-serial: 'file:' is none of stdio, file:PATH, unix:PATH[,server=on[,wait=off]], null"],
    ['-serial unix:/s,server=perhaps', "-serial server: 'perhaps' is neither on nor off"],
    ['-serial null -serial stdio', "-serial 'stdio': there is one already"],
    ['-initrd I', '-initrd needs -kernel'],
    ['-append x', '-append needs -kernel'],
  ] as const) {
    t.equal(refusal(line), text, line);
  }
  t.end();
});
