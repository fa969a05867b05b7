/** What query-command-line-options tells is what the command line takes. */
import t from 'tap';
import { OPTION_LISTS } from '../../../daemon/cli/option_lists.js';
import { parseOptions } from '../../../daemon/cli/options.js';
import { answer } from '../../helpers/answers.js';
import { DaemonProcess, MACHINE_NONE, QMP_SOCKET } from '../../helpers/daemon.js';
import { noQemu72, startQemu } from '../../helpers/qemu.js';

/** Arguments that use every parameter of an option; those of one option that exclude each other are in several. */
const USES: Readonly<Record<string, readonly string[]>> = {
  machine: ['-machine type=pc,accel=kvm,usb=off,mem-merge=off,dump-guest-core=off'],
  sandbox: ['-sandbox enable=on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  action: ['-action reboot=reset,shutdown=pause,panic=none,watchdog=none'],
  name: ['-name guest=a,process=b,debug-threads=on'],
  msg: ['-msg timestamp=on,guest-name=on'],
  overcommit: ['-overcommit mem-lock=off,cpu-pm=off'],
  object: ['-object secret,id=s0'],
  'boot-opts': ['-boot strict=on,menu=off'],
  'smp-opts': ['-smp cpus=4,sockets=2,dies=1,clusters=1,cores=2,threads=1,maxcpus=4'],
  memory: ['-m size=64M,slots=0,maxmem=64M'],
  accel: ['-accel kvm'],
  mon: ['-chardev null,id=c0 -mon chardev=c0,mode=control,pretty=on'],
  rtc: ['-rtc base=utc,clock=host,driftfix=none'],
  device: ['-device isa-debug-exit'],
  chardev: [
    '-chardev backend=socket,id=a,path=/p,server=on,wait=off',
    '-chardev socket,id=b,host=h,port=1',
    '-chardev socket,id=c,fd=7',
    '-chardev file,id=d,path=/p,append=on',
  ],
};

t.test('every parameter that is told of is taken', async (t) => {
  t.same(OPTION_LISTS.map(({ option }) => option).sort(), Object.keys(USES).sort());
  for (const { option, parameters } of OPTION_LISTS) {
    const uses = USES[option] as readonly string[];
    for (const use of uses) t.doesNotThrow(() => parseOptions(use.split(' ')), use);
    const used = uses.flatMap((use) => [...use.matchAll(/[ ,]([a-z-]+)=/g)].map(([, name]) => name as string));
    const names = parameters.map(({ name }) => name);
    for (const name of names) t.ok(used.includes(name), `-${option} ${name} is used`);
    if (names.length > 0)
      t.same(
        [...new Set(used)].filter((name) => name !== 'id' && !names.includes(name)),
        [],
      );
  }
});

t.test('an option can be asked for by its name, and one that is none is refused in QEMU’s words', async (t) => {
  const client = await new DaemonProcess(t, [...MACHINE_NONE, ...QMP_SOCKET]).qmp();
  t.teardown(() => client.close());
  const query = (args: object) => answer(client, 'query-command-line-options', args);
  t.same(await query({}), OPTION_LISTS);
  t.same(
    await query({ option: 'mon' }),
    OPTION_LISTS.filter(({ option }) => option === 'mon'),
  );
  t.equal(await query({ option: 'nope' }), 'GenericError: invalid option name: nope');
  t.same(
    await answer(client, 'query-chardev-backends'),
    ['null', 'stdio', 'file', 'pipe', 'socket'].map((name) => ({ name })),
  );
});

t.test('QEMU has each of them, of the same type and in the same order', { skip: noQemu72() }, async (t) => {
  const qemu = await startQemu(t, MACHINE_NONE);
  const theirs = await qemu.execute('query-command-line-options');
  const names = OPTION_LISTS.map(({ option }) => option);
  t.same(
    theirs.filter(({ option }) => names.includes(option)).map(({ option }) => option),
    names,
  );
  for (const { option, parameters } of OPTION_LISTS) {
    const known = theirs.find((other) => other.option === option)?.parameters ?? [];
    const own = parameters.map(({ name }) => name);
    t.same(
      known.filter(({ name }) => own.includes(name)).map(({ name, type }) => ({ name, type })),
      parameters,
      option,
    );
  }
});
