import t from 'tap';
import type { CommandReturns } from '../../../schemas/generated/qmp.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { noQemu72, startQemu } from '../../helpers/qemu.js';

const skip = noKvm();
const CPU0 = '/machine/unattached/device[0]';
const CPU1 = '/machine/unattached/device[2]';

const names = (results: CommandReturns<'query-stats'>) => results.map(({ stats }) => stats.map(({ name }) => name));

t.test('figures of vCPUs grow with what the guest does, and are asked for by name and vCPU', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { guest: 'hb=20', more: ['-smp', '2'] });
  const { qmp } = daemon;
  await daemon.line(/^HB 1 /);
  const request = { provider: 'kvm' as const, names: ['exits', 'io_exits', 'guest_mode', 'nothing'] };
  const exits = async () => {
    const [result] = await qmp.execute('query-stats', { target: 'vcpu', vcpus: [CPU0], providers: [request] });
    t.same(result?.stats.map(({ name }) => name).sort(), ['exits', 'guest_mode', 'io_exits']);
    t.equal(result?.['qom-path'], CPU0);
    t.equal(result?.stats.find(({ name }) => name === 'guest_mode')?.value, false);
    return result?.stats.find(({ name }) => name === 'exits')?.value as number;
  };
  const { fds } = daemon.resources();
  const before = await exits();
  await daemon.nextLine(/^HB /);
  t.ok((await exits()) > before, 'the heartbeat took exits');
  t.equal(daemon.resources().fds, fds, 'no descriptor stays open');
  const all = await qmp.execute('query-stats', { target: 'vcpu' });
  t.same(
    all.map((result) => result['qom-path']),
    [CPU1, CPU0],
    'in QEMU’s order, the last one first',
  );
  t.same(await qmp.execute('query-stats', { target: 'vcpu', vcpus: ['/nowhere'] }), []);
  t.same(await qmp.execute('query-stats', { target: 'vm', providers: [] }), []);
});

t.test('every figure has its description, and those of the VM are its own', { skip }, async (t) => {
  const { qmp } = await TestDaemon.start(t);
  const schemas = await qmp.execute('query-stats-schemas', {});
  t.same(
    schemas.map(({ target }) => target),
    ['vcpu', 'vm'],
  );
  for (const { target, stats } of schemas) {
    const results = await qmp.execute('query-stats', { target });
    t.same(names(results), [stats.map(({ name }) => name)]);
    for (const { name, value } of results[0]?.stats ?? []) {
      const { type, unit } = stats.find((schema) => schema.name === name) ?? {};
      const kind = type?.endsWith('histogram') ? 'object' : unit === 'boolean' ? 'boolean' : 'number';
      t.equal(typeof value, kind, name);
    }
  }
  const histogram = schemas[0]?.stats.find(({ name }) => name === 'halt_wait_hist');
  t.same(histogram, { name: 'halt_wait_hist', type: 'log2-histogram', unit: 'seconds', base: 10, exponent: -9 });
});

t.test('without a machine there are no figures', async (t) => {
  const { qmp } = await TestDaemon.start(t, { more: ['-machine', 'none'] });
  t.same(await qmp.execute('query-stats-schemas', {}), []);
  t.same(await qmp.execute('query-stats', { target: 'vcpu' }), []);
  await t.rejects(qmp.execute('query-stats', { target: 'vm', vcpus: [] } as never), {
    message: "Parameter 'vcpus' is unexpected",
  });
});

t.test('QEMU on this host lists the same figures in the same order', { skip: skip || noQemu72() }, async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-smp', '2'] });
  const machine = ['-machine', 'pc,usb=off', '-accel', 'kvm', '-nodefaults', '-display', 'none', '-m', '32', '-S'];
  const qemu = await startQemu(t, [...machine, '-smp', '2']);
  t.same(await daemon.qmp.execute('query-stats-schemas', {}), await qemu.execute('query-stats-schemas', {}));
  for (const target of ['vm', 'vcpu'] as const) {
    const [ours, theirs] = await Promise.all([daemon.qmp, qemu].map((qmp) => qmp.execute('query-stats', { target })));
    t.same(names(ours ?? []), names(theirs ?? []));
  }
});
