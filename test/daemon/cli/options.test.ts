import t from 'tap';
import { usage } from '../../../daemon/cli/help.js';
import { NO_EFFECT } from '../../../daemon/cli/no_effect.js';
import { OPTIONS, parseOptions } from '../../../daemon/cli/options.js';
import { cpuInstance } from '../../../daemon/cli/topology.js';
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

t.test('without options there is a machine of QEMU’s defaults that waits for nothing', (t) => {
  t.same(parse(''), {
    machine: { type: 'pc' },
    cpu: { model: 'host', features: new Map(), check: true, enforce: false },
    ramBytes: 128 * MIB,
    vcpus: 1,
    topology: { sockets: 1, dies: 1, cores: 1, threads: 1 },
    append: '',
    devices: [],
    chardevs: [],
    monitors: [],
    paused: false,
    actions: { reboot: 'reset', shutdown: 'poweroff', panic: 'shutdown', watchdog: 'reset' },
    uuid: '00000000-0000-0000-0000-000000000000',
    debugThreads: false,
    daemonize: false,
    message: { timestamp: false, guestName: false },
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
    actions: { reboot: 'shutdown', shutdown: 'pause' },
    pidfile: 'P',
    incoming: 'defer',
  });
  t.equal(parse('-name a,,b,process=p').name, 'a,b', 'two commas are one of the value');
  t.same(parse('-machine none').machine, { type: 'none' });
  t.same(parse('-M pc-i440fx-7.2,accel=kvm:tcg').machine, { type: 'pc', accel: 'kvm' });
  t.equal(parse('-cpu qemu64,-svm').cpu.model, 'qemu64');
  t.equal(parse('-bios B').bios, 'B');
  t.match(parse('-msg timestamp=on -daemonize'), { message: { timestamp: true, guestName: false }, daemonize: true });
  t.end();
});

t.test('what the run-state events do is what -action and its short forms say last', (t) => {
  t.same(parse('-action reboot=shutdown,shutdown=pause,panic=none,watchdog=inject-nmi').actions, {
    reboot: 'shutdown',
    shutdown: 'pause',
    panic: 'none',
    watchdog: 'inject-nmi',
  });
  t.same(parse('-no-reboot -action reboot=reset -watchdog-action debug').actions, {
    reboot: 'reset',
    shutdown: 'poweroff',
    panic: 'shutdown',
    watchdog: 'debug',
  });
  t.end();
});

t.test('vCPUs are arranged as -smp says, and where it does not, as QEMU 7.2 does', (t) => {
  for (const [smp, vcpus, sockets, dies, cores, threads] of [
    ['4', 4, 1, 1, 4, 1],
    ['cpus=4', 4, 1, 1, 4, 1],
    ['4,sockets=2', 4, 2, 1, 2, 1],
    ['4,threads=2', 4, 1, 1, 2, 2],
    ['4,cores=2', 4, 2, 1, 2, 1],
    ['4,cores=2,sockets=1', 4, 1, 1, 2, 2],
    ['8,dies=2,threads=2', 8, 1, 2, 2, 2],
    ['sockets=2,cores=3', 6, 2, 1, 3, 1],
    ['1,sockets=1,cores=1,threads=1', 1, 1, 1, 1, 1],
    ['2,maxcpus=2,clusters=1', 2, 1, 1, 2, 1],
  ] as const) {
    t.match(parse(`-smp ${smp}`), { vcpus, topology: { sockets, dies, cores, threads } }, smp);
  }
  t.same(
    [0, 1, 2, 3, 7].map((index) => cpuInstance({ sockets: 2, dies: 1, cores: 2, threads: 2 }, index)),
    [
      { 'socket-id': 0, 'core-id': 0, 'thread-id': 0 },
      { 'socket-id': 0, 'core-id': 0, 'thread-id': 1 },
      { 'socket-id': 0, 'core-id': 1, 'thread-id': 0 },
      { 'socket-id': 0, 'core-id': 1, 'thread-id': 1 },
      { 'socket-id': 1, 'core-id': 1, 'thread-id': 1 },
    ],
  );
  t.same(cpuInstance({ sockets: 1, dies: 2, cores: 1, threads: 2 }, 2), {
    'socket-id': 0,
    'die-id': 1,
    'core-id': 0,
    'thread-id': 0,
  });
  t.end();
});

t.test('monitors and the serial port make chardevs under QEMU’s labels, or use those there are', (t) => {
  const { chardevs, monitors, serial } = parseOptions([
    ...['-qmp', 'unix:/a,,b,server=on,wait=off', '-qmp-pretty', 'tcp:127.0.0.1:0,server,nowait'],
    ...['-monitor', 'stdio', '-monitor', 'none', '-qmp', 'tcp:[::1]:5', '-serial', 'file:/a,b'],
    ...['-chardev', 'socket,id=c,fd=5,server=on', '-mon', 'c,mode=control,pretty=on', '-chardev', 'null,id=n'],
    ...['-mon', 'chardev=p', '-chardev', 'pipe,path=/p,id=p', '-chardev', 'file,id=f,path=/f,append=on'],
    ...['-chardev', 'socket,id=t,host=h,port=9,server=on,wait=off'],
  ]);
  t.same(chardevs, [
    {
      id: 'compat_monitor0',
      backend: { kind: 'socket', address: { kind: 'unix', path: '/a,b' }, server: true, wait: false },
    },
    {
      id: 'compat_monitor1',
      backend: { kind: 'socket', address: { kind: 'tcp', host: '127.0.0.1', port: 0 }, server: true, wait: false },
    },
    { id: 'compat_monitor2', backend: { kind: 'stdio' } },
    {
      id: 'compat_monitor3',
      backend: { kind: 'socket', address: { kind: 'tcp', host: '::1', port: 5 }, server: false, wait: false },
    },
    { id: 'serial0', backend: { kind: 'file', path: '/a,b', append: false } },
    { id: 'c', backend: { kind: 'socket', address: { kind: 'fd', fd: 5 }, server: true, wait: true } },
    { id: 'n', backend: { kind: 'null' } },
    { id: 'p', backend: { kind: 'pipe', path: '/p' } },
    { id: 'f', backend: { kind: 'file', path: '/f', append: true } },
    { id: 't', backend: { kind: 'socket', address: { kind: 'tcp', host: 'h', port: 9 }, server: true, wait: false } },
  ]);
  t.same(monitors, [
    { chardev: 'compat_monitor0', mode: 'control', pretty: false },
    { chardev: 'compat_monitor1', mode: 'control', pretty: true },
    { chardev: 'compat_monitor2', mode: 'readline', pretty: false },
    { chardev: 'compat_monitor3', mode: 'control', pretty: false },
    { chardev: 'c', mode: 'control', pretty: true },
    { chardev: 'p', mode: 'readline', pretty: false },
  ]);
  t.equal(serial, 'serial0');
  t.equal(parse('-chardev null,id=n -serial chardev:n').serial, 'n');
  t.match(parse('-serial none').chardevs, [{ id: 'serial0', backend: { kind: 'null' } }]);
  t.end();
});

t.test('the command lines that libvirt starts and probes with are read', (t) => {
  t.match(
    parse(
      '-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg -qmp unix:/m,server=on,wait=off -pidfile F -daemonize',
    ),
    { machine: { type: 'none' }, pidfile: 'F', daemonize: true, paused: true },
  );
  t.match(
    parseOptions([
      ...['-name', 'guest=vm,debug-threads=on', '-S', '-object', 'secret,id=masterKey0,format=raw,file=/k'],
      ...['-machine', 'pc,usb=off,dump-guest-core=off,memory-backend=pc.ram', '-accel', 'kvm', '-cpu', 'qemu64'],
      ...['-m', '32', '-object', `{"qom-type":"memory-backend-ram","id":"pc.ram","size":${32 * MIB}}`],
      ...['-overcommit', 'mem-lock=off', '-smp', '1,sockets=1,cores=1,threads=1'],
      ...['-uuid', '11111111-2222-3333-4444-555555555555', '-display', 'none', '-no-user-config', '-nodefaults'],
      ...['-chardev', 'socket,id=charmonitor,fd=24,server=on,wait=off'],
      ...['-mon', 'chardev=charmonitor,id=monitor,mode=control', '-rtc', 'base=utc', '-no-shutdown', '-no-acpi'],
      ...['-boot', 'strict=on', '-audiodev', '{"id":"audio1","driver":"none"}', '-incoming', 'defer'],
      ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
      ...['-msg', 'timestamp=on'],
    ]),
    {
      name: 'vm',
      machine: { type: 'pc', memoryBackend: { kind: 'memory-backend-ram', id: 'pc.ram', sizeBytes: 32 * MIB } },
      ramBytes: 32 * MIB,
      monitors: [{ chardev: 'charmonitor', mode: 'control', pretty: false }],
      incoming: 'defer',
    },
  );
  t.end();
});

t.test('every word without effect is accepted with its value, and changes nothing', (t) => {
  for (const [option, { keys }] of Object.entries(NO_EFFECT)) {
    if (!keys) t.same(parse(option), parse(''), option);
    for (const [key, { values = ['on'] }] of Object.entries(keys ?? {})) {
      const first = { '-accel': 'kvm,', '-machine': 'pc,' }[option] ?? '';
      const without = parse(first === '' ? '' : `${option} ${first}`);
      for (const value of values)
        t.same(parse(`${option} ${first}${key}=${value}`), without, `${option} ${key}=${value}`);
    }
  }
  t.end();
});

t.test('the usage text names every option and every word without effect', (t) => {
  for (const name of [...Object.keys(OPTIONS), ...Object.keys(NO_EFFECT)]) t.match(usage(), `  ${name}`);
  t.end();
});

t.test('the debug-exit device takes QEMU’s properties and defaults, as text and as JSON', (t) => {
  const driver = 'isa-debug-exit';
  t.same(parse('-device isa-debug-exit').devices, [{ driver, iobase: 0x501, iosize: 2 }]);
  t.same(parse('-device isa-debug-exit,iobase=0xf4,iosize=4,id=d').devices, [
    { driver, id: 'd', iobase: 0xf4, iosize: 4 },
  ]);
  t.same(parse('-device driver=isa-debug-exit,iobase=244').devices, [{ driver, iobase: 244, iosize: 2 }]);
  t.same(parse('-device {"driver":"isa-debug-exit","iobase":244}').devices, [{ driver, iobase: 244, iosize: 2 }]);
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
    ['-m 512,slots=2', "-m: '512,slots=2' is not supported: memory cannot be plugged later"],
    [
      '-m size=512M,slots=2,maxmem=1G',
      "-m: 'size=512M,slots=2,maxmem=1G' is not supported: memory cannot be plugged later",
    ],
    ['-m 512,x=1', "-m: 'x=1' is not supported"],
    ['-smp 0', "-smp cpus: '0' is no number from 1 to 255"],
    ['-smp 256', "-smp cpus: '256' is no number from 1 to 255"],
    ['-smp two', "-smp cpus: 'two' is no number from 1 to 255"],
    [
      '-smp 3,sockets=2,cores=2',
      '-smp: Invalid CPU topology: product of the hierarchy must match maxcpus: sockets (2) * dies (1) * cores (2) * threads (0) != maxcpus (3)',
    ],
    ['-smp 2,maxcpus=4', '-smp: maxcpus (4) beyond the 2 vCPUs is not supported: vCPUs cannot be plugged later'],
    [
      '-smp 4,maxcpus=2',
      '-smp: Invalid CPU topology: maxcpus must be equal to or greater than smp: sockets (1) * dies (1) * cores (2) * threads (1) == maxcpus (2) < smp_cpus (4)',
    ],
    ['-smp sockets=16,cores=16', '-smp: 256 vCPUs are more than 255'],
    ['-smp 2,clusters=2', "-smp clusters: '2' is not supported, only 1"],
    ['-smp 2,books=2', "-smp: 'books=2' is not supported"],
    ['-machine q35', "-machine: 'q35' is not supported, only pc, pc-i440fx-7.2, none"],
    ['-machine toString', "-machine: 'toString' is not supported, only pc, pc-i440fx-7.2, none"],
    ['-machine pc,usb=on', "-machine: 'usb=on' is not supported, only 'off', 'no', 'false': there is no USB"],
    ['-machine pc,nonsense=1', "-machine: 'nonsense=1' is not supported"],
    ['-machine pc,accel=tcg', "-machine accel: 'tcg' is not supported, only kvm"],
    ['-machine memory-backend=x', "-machine memory-backend: there is no -object 'x'"],
    [
      '-m 32 -machine memory-backend=r -object memory-backend-ram,id=r,size=16M',
      "-object: the 16777216 bytes of 'r' are not the 33554432 bytes of -m",
    ],
    [
      '-object memory-backend-ram,id=r,size=16M',
      "-object: the memory 'r' is not that of -machine memory-backend=, its one use here",
    ],
    [
      '-object iothread,id=x',
      "-object: 'iothread' is not supported, only secret, memory-backend-ram, memory-backend-memfd",
    ],
    ['-object secret,id=x,y=z', "-object: 'y=z' is not supported"],
    ['-object secret', "-object: 'id=' is missing"],
    ['-object {"qom-type":[]}', '-object qom-type: [] is not supported'],
    ['-name a,nonsense=on', "-name: 'nonsense=on' is not supported"],
    ['-uuid 1234', "-uuid: '1234' is no UUID"],
    ['-accel tcg', "-accel: 'tcg' is not supported, only kvm"],
    ['-accel tcg -accel kvm', "-accel: 'tcg' is not supported, only kvm"],
    ['-display gtk', "-display: 'type=gtk' is not supported, only 'none': there is no display"],
    ['-rtc base=localtime', "-rtc: 'base=localtime' is not supported, only 'utc': the clock shows UTC"],
    ['-audiodev alsa,id=a', "-audiodev: 'driver=alsa' is not supported, only 'none': there is no sound device"],
    ['-preconfig', '-preconfig: invalid option'],
    ['-action reboot=pause', "-action reboot: 'pause' is none of reset, shutdown"],
    ['-action boot=none', "-action: 'boot=none' is not supported"],
    ['-device virtio-net', "-device: 'virtio-net' is not a device of vmhostd"],
    ['-device toString', "-device: 'toString' is not a device of vmhostd"],
    ['-device isa-debug-exit,x=1', "-device: 'x=1' is not supported"],
    ['-device isa-debug-exit,iobase=65536', "-device iobase: '65536' is no number from 0 to 65535"],
    ['-device isa-debug-exit,iosize=9', "-device iosize: '9' is no number from 1 to 8"],
    [
      '-device isa-debug-exit -device isa-debug-exit',
      "-device: there is a 'isa-debug-exit' already, and one is all there can be",
    ],
    ['-qmp unix:/a,wait=off', "-qmp: 'wait' option is incompatible with socket in client connect mode"],
    ['-qmp pty', "-qmp: 'pty' is none of unix:PATH, tcp:HOST:PORT, file:PATH, pipe:PATH, stdio, null"],
    ['-qmp tcp:h:65536,server=on', "-qmp: '65536' is no number from 0 to 65535"],
    ['-qmp unix:/a,server=on,tls=on', "-qmp: 'tls=on' is not supported"],
    ['-serial file:', "-serial: 'file:' is none of unix:PATH, tcp:HOST:PORT, file:PATH, pipe:PATH, stdio, null"],
    ['-serial unix:/s,server=perhaps', "-serial server: 'perhaps' is neither on nor off"],
    ['-serial null -serial stdio', "-serial 'stdio': there is one already"],
    ['-serial chardev:x', '-serial: chardev "x" not found'],
    ['-mon x', '-mon: chardev "x" not found'],
    ['-mon x,mode=both', "-mon mode: 'both' is none of readline, control"],
    ['-mon x,pretty=on', "-mon: 'pretty' is not compatible with HMP monitors"],
    ['-chardev null,id=a -mon a -mon a', '-mon: chardev "a" is already in use'],
    ['-chardev null,id=a -chardev stdio,id=a', "-chardev: there is an 'a' already"],
    ['-qmp stdio -serial stdio', '-chardev: cannot use stdio by multiple character devices'],
    ['-qmp stdio -daemonize', '-chardev: cannot use stdio with -daemonize'],
    ['-daemonize -monitor stdio', '-chardev: cannot use stdio with -daemonize'],
    ['-chardev null', "-chardev: 'id=' is missing"],
    ['-chardev null,id=1', "-chardev: id '1' must be letters, digits, '-', '.' and '_', a letter first"],
    ['-chardev spicevmc,id=a', "-chardev: 'spicevmc' is none of null, stdio, file, pipe, socket"],
    ['-chardev socket,id=a', "-chardev: a socket needs 'path=', 'fd=' or 'host=' and 'port='"],
    ['-chardev socket,id=a,fd=2', "-chardev fd: '2' is no number from 3 to 2147483647"],
    ['-chardev socket,id=a,path=/a,fd=4', "-chardev: None or one of 'path', 'fd' and 'host' option required"],
    ['-chardev socket,id=a,path=/a,reconnect=1', "-chardev: 'reconnect=1' is not supported"],
    ['-initrd I', '-initrd needs -kernel'],
    ['-machine none -kernel K', "-kernel is not supported by a machine of type 'none'"],
    ['-append x', '-append needs -kernel'],
  ] as const) {
    t.equal(refusal(line), text, line);
  }
  t.end();
});
