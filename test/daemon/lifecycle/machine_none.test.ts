import { readdirSync, readlinkSync } from 'node:fs';
import t from 'tap';
import { DaemonProcess } from '../../helpers/daemon.js';

const NONE = ['-machine', 'none', '-qmp', 'unix:@/qmp,server=on,wait=off', '-pidfile', '@/pid'];

t.test('-machine none needs nothing of the host’s KVM and has neither RAM nor vCPUs', async (t) => {
  const daemon = new DaemonProcess(t, NONE);
  const qmp = await daemon.qmp();
  const fds = `/proc/${daemon.child.pid}/fd`;
  const open = readdirSync(fds).flatMap((fd) => {
    try {
      return [readlinkSync(`${fds}/${fd}`)];
    } catch {
      return []; // closed meanwhile
    }
  });
  t.same(
    open.filter((target) => /kvm|vmhostd-ram/.test(target)),
    [],
  );
  t.same(await qmp.execute('query-status'), { status: 'running', singlestep: false, running: true });
  t.same(await qmp.execute('query-cpus-fast'), []);
  await t.rejects(qmp.execute('migrate', { uri: 'tcp:127.0.0.1:1' }), {
    message: "There is nothing to migrate: a machine of type 'none' has no guest",
  });
  await qmp.execute('quit');
  t.equal(await daemon.exited, 0);
});

t.test('a machine without a guest goes through the run states, with every event', async (t) => {
  const daemon = new DaemonProcess(t, [...NONE, '-S']);
  const qmp = await daemon.qmp();
  const status = async () => (await qmp.execute('query-status')).status;
  t.equal(await status(), 'prelaunch');
  await qmp.execute('cont');
  t.equal(await status(), 'running');
  await qmp.execute('stop');
  t.equal(await status(), 'paused');
  await qmp.execute('system_reset');
  t.equal(await status(), 'prelaunch');
  await qmp.execute('cont');
  await qmp.execute('quit');
  t.equal(await daemon.exited, 0);
  t.same(daemon.eventNames(), ['RESUME', 'STOP', 'RESET', 'RESUME', 'SHUTDOWN']);
});

t.test('-machine none refuses a kernel, as QEMU does', async (t) => {
  const daemon = new DaemonProcess(t, ['-machine', 'none', '-kernel', '/dev/null']);
  t.equal(await daemon.exited, 1);
  t.match(daemon.stderr, /^vmhostd: -kernel .*none/);
});
