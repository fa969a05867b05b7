import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { DaemonProcess, MACHINE_PC, QMP_SOCKET } from '../../helpers/daemon.js';
import { noKvm } from '../../helpers/kvm.js';

t.test('-name process= and debug-threads=on are what ps(1) shows', { skip: noKvm() }, async (t) => {
  const daemon = new DaemonProcess(t, [
    ...MACHINE_PC,
    ...QMP_SOCKET,
    ...['-smp', '2', '-name', 'guest=g,process=my-vm,debug-threads=on'],
  ]);
  const qmp = await daemon.qmp();
  const proc = `/proc/${daemon.child.pid}`;
  t.equal(readFileSync(`${proc}/comm`, 'utf8'), 'my-vm\n');
  const names = readdirSync(`${proc}/task`).map((task) => readFileSync(`${proc}/task/${task}/comm`, 'utf8').trim());
  t.same(names.filter((name) => name.startsWith('CPU ')).sort(), ['CPU 0/KVM', 'CPU 1/KVM']);
  t.same(await qmp.execute('query-name'), { name: 'g' });
});
