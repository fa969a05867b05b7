/** What libvirt 9 does to an emulator, step by step, without libvirt; `npm run test:libvirt` is the same with it. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { finishConnect, POLLOUT, startConnect, waitFor } from '../../kvm/sockets.js';
import { eventually, VMHOSTD } from '../helpers/daemon.js';
import { noKvm } from '../helpers/daemons.js';
import { LibvirtMonitor, letRun, startAsLibvirt } from './libvirt_monitor.js';

const skip = noKvm();

/** libvirt's "as fast as it can". */
const UNLIMITED = 9223372036853727232n;

/** Of these libvirt asks for properties, and takes it that there are none where they are refused. */
const DEVICES = [
  'virtio-blk-pci',
  'scsi-hd',
  'ide-hd',
  'PIIX4_PM',
  'kvm-pit',
  'ICH9-LPC',
  'virtio-balloon-pci',
  'usb-host',
];

t.test(
  'the probe: the command returns once the socket listens and the pid file is there, and all is answered',
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'vmhostd-probe-'));
    const [socket, pidfile] = [join(dir, 'qmp.monitor'), join(dir, 'qmp.pid')];
    const args = ['-S', '-no-user-config', '-nodefaults', '-nographic', '-machine', 'none,accel=kvm:tcg'];
    const { status, stderr } = spawnSync(
      process.execPath,
      [VMHOSTD, ...args, '-qmp', `unix:${socket},server=on,wait=off`, '-pidfile', pidfile, '-daemonize'],
      { encoding: 'utf8', timeout: 30_000 },
    );
    t.equal(status, 0, stderr);
    const pid = Number(readFileSync(pidfile, 'utf8'));
    t.teardown(() => {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended, as it should.
      }
      rmSync(dir, { recursive: true, force: true });
    });
    const monitor = await LibvirtMonitor.connect(t, socket);
    t.match(await monitor.execute('query-version'), { qemu: { major: 7, minor: 2 } });
    t.same(await monitor.execute('query-target'), { arch: 'x86_64' });
    const schema = (await monitor.execute('query-qmp-schema')) as { name: string }[];
    t.ok(schema.some(({ name }) => name === 'migrate'));
    const commands = (await monitor.execute('query-commands')) as { name: string }[];
    t.ok(commands.some(({ name }) => name === 'getfd'));
    const kvm = !skip;
    t.same(await monitor.execute('query-kvm'), { enabled: kvm, present: kvm });
    const types = (await monitor.execute('qom-list-types')) as { name: string }[];
    t.notOk(
      types.some(({ name }) => name === 'tcg-accel'),
      'which would have it probed again, for TCG',
    );
    for (const typename of DEVICES) {
      const { error } = await monitor.ask('device-list-properties', { typename });
      if (error) t.equal(error.class, 'DeviceNotFound', typename);
    }
    for (const typename of ['memory-backend-file', 'memory-backend-memfd', 'max-x86_64-cpu', 'none-machine']) {
      t.type(
        await monitor.execute('qom-list-properties', { typename }),
        Array,
        `${typename}: libvirt crashes at a refusal`,
      );
    }
    const machines = (await monitor.execute('query-machines')) as { name: string; alias?: string }[];
    t.ok(machines.some(({ alias }) => alias === 'pc'));
    await monitor.execute('query-cpu-definitions');
    for (const tolerated of ['query-tpm-models', 'query-tpm-types']) {
      const { error } = await monitor.ask(tolerated);
      if (error) t.equal(error.class, 'CommandNotFound');
    }
    t.type(await monitor.execute('query-command-line-options'), Array);
    const capabilities = (await monitor.execute('query-migrate-capabilities')) as { capability: string }[];
    t.ok(capabilities.some(({ capability }) => capability === 'events'));
    const { model } = (await monitor.execute('query-cpu-model-expansion', {
      type: 'static',
      model: { name: 'host' },
    })) as { model: object };
    await monitor.execute('query-cpu-model-expansion', { type: 'full', model });
    process.kill(pid, 'SIGTERM');
    await eventually(dir, 'the end of what was probed', () => !existsSync(socket) || undefined);
  },
);

t.test('start, save into a pipe and restore from a file', { skip }, async (t) => {
  const first = await startAsLibvirt(t);
  await letRun(first);
  await eventually(first.dir, 'a heartbeat', () => /HB \d+ passes=[1-9]/.test(first.printed()) || undefined);

  t.same(await first.monitor.execute('query-migrate'), {});
  await first.monitor.execute('stop');
  await first.monitor.setCapabilities();
  await first.monitor.execute('migrate-set-parameters', { 'max-bandwidth': UNLIMITED });
  await first.monitor.execute('query-migrate-parameters');
  t.match(first.monitor.text, `"max-bandwidth": ${UNLIMITED}`, 'to the last digit');
  const [pipe, saved] = [join(first.dir, 'pipe'), join(first.dir, 'saved')];
  execFileSync('mkfifo', [pipe]);
  const helper = spawn('sh', ['-c', `cat ${pipe} > ${saved}`], { stdio: 'ignore' });
  const drained = once(helper, 'close');
  const fd = openSync(pipe, 'w');
  await first.monitor.execute('getfd', { fdname: 'migrate' }, [fd]);
  closeSync(fd);
  await first.monitor.execute('migrate', { detach: true, resume: false, uri: 'fd:migrate' });
  await first.monitor.migration('completed');
  t.match(await first.monitor.execute('query-migrate'), { status: 'completed', ram: { remaining: 0 } });
  await drained;
  t.pass('the pipe is closed when the migration has completed');
  const before = first.printed();
  first.child.kill('SIGTERM');

  const second = await startAsLibvirt(t, ['-incoming', 'defer'], [openSync(saved, 'r')]);
  await second.monitor.execute('migrate-incoming', { uri: 'fd:4' });
  await second.monitor.migration('completed');
  await letRun(second);
  const next = Number(/.*HB (\d+) /s.exec(before)?.[1]) + 1;
  await eventually(second.dir, `heartbeat ${next}`, () => second.printed().includes(`HB ${next} `) || undefined);
  t.match(await second.monitor.execute('query-status'), { status: 'running' });
});

t.test('live migration: libvirt connects, pauses before the switchover, and lets it go on', { skip }, async (t) => {
  const [source, destination] = await Promise.all([startAsLibvirt(t), startAsLibvirt(t, ['-incoming', 'defer'])]);
  await letRun(source);
  await eventually(source.dir, 'a heartbeat', () => /HB \d+ passes=[1-9]/.test(source.printed()) || undefined);

  const kept = (await destination.monitor.execute('query-migrate-parameters')) as { [name: string]: unknown };
  await destination.monitor.setCapabilities('late-block-activate', 'return-path');
  await destination.monitor.execute('migrate-set-parameters', { 'tls-creds': '', 'tls-hostname': '' });
  await destination.monitor.execute('migrate-incoming', { uri: 'tcp:[::]:0' });
  const { 'socket-address': addresses } = (await destination.monitor.execute('query-migrate')) as {
    'socket-address': { port: string }[];
  };

  await source.monitor.execute('query-migrate-parameters');
  await source.monitor.setCapabilities('pause-before-switchover', 'return-path');
  const unlimited = { 'tls-creds': '', 'tls-hostname': '', 'max-bandwidth': UNLIMITED };
  await source.monitor.execute('migrate-set-parameters', unlimited);
  const fd = startConnect({ kind: 'tcp', host: '127.0.0.1', port: Number(addresses[0]?.port) });
  t.ok(waitFor(fd, POLLOUT, 5000));
  t.equal(finishConnect(fd), 0);
  await source.monitor.execute('getfd', { fdname: 'migrate' }, [fd]);
  closeSync(fd);
  await source.monitor.execute('migrate', { detach: true, resume: false, uri: 'fd:migrate' });
  await source.monitor.migration('pre-switchover');
  t.match(await source.monitor.execute('query-migrate'), { status: 'pre-switchover' });
  await source.monitor.execute('migrate-continue', { state: 'pre-switchover' });
  await source.monitor.migration('completed');
  t.match(await source.monitor.execute('query-migrate'), { status: 'completed' });

  await destination.monitor.migration('completed');
  await letRun(destination);
  const next = Number(/.*HB (\d+) /s.exec(source.printed())?.[1]) + 1;
  await eventually(destination.dir, 'its heartbeat', () => destination.printed().includes(`HB ${next} `) || undefined);
  // libvirt puts back what it found.
  await destination.monitor.setCapabilities();
  const { 'max-bandwidth': bandwidth, 'downtime-limit': limit, 'tls-creds': creds } = kept;
  await destination.monitor.execute('migrate-set-parameters', {
    'max-bandwidth': bandwidth,
    'downtime-limit': limit,
    'tls-creds': creds,
  });
  t.match(await source.monitor.execute('query-status'), { status: 'postmigrate' });
});
