/** What capabilities change about a migration. */
import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { MigrationCapability } from '../../../client/qmp_client.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, migrate, movesAfterAll, progress } from '../../helpers/migration.js';

const skip = noKvm();
const GUEST = 'fill=16 ws=2 rate=500 hb=50';
const ONE_WAY = { uri: 'exec:cat > /dev/null' };

function enable(daemon: TestDaemon, capability: MigrationCapability): Promise<unknown> {
  return daemon.qmp.execute('migrate-set-capabilities', { capabilities: [{ capability, state: true }] });
}

/** Waits for a status that comes after event number `from`. */
function status(daemon: TestDaemon, wanted: string, from: number): Promise<unknown> {
  return daemon.event('MIGRATION', ({ data }) => data.status === wanted, { from });
}

/** A source that waits before its switchover. */
async function waiting(t: Test): Promise<{ source: TestDaemon; destination: TestDaemon; from: number }> {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, GUEST),
    TestDaemon.destination(t),
  ]);
  await enable(source, 'pause-before-switchover');
  const from = source.events.length;
  await source.qmp.execute('migrate', { uri });
  await status(source, 'pre-switchover', from);
  return { source, destination, from };
}

t.test('pause-before-switchover: the guest stands still until migrate-continue', { skip }, async (t) => {
  const { source, destination, from } = await waiting(t);
  t.same(source.eventNames(from).slice(-2), ['STOP', 'MIGRATION pre-switchover']);
  t.equal(await source.status(), 'finish-migrate');
  const info = await source.qmp.execute('query-migrate');
  t.match(info, { status: 'pre-switchover', 'setup-time': Number, 'total-time': Number, ram: { total: Number } });
  await t.rejects(source.qmp.execute('migrate-continue', { state: 'active' }), {
    message: 'Migration not in expected state: pre-switchover',
  });
  await t.rejects(source.qmp.execute('cont'), { message: 'Migration is not finalized yet' });
  t.equal((await source.qmp.execute('query-yank'))[0]?.type, 'migration');
  const to = source.events.length;
  await source.qmp.execute('migrate-continue', { state: 'pre-switchover' });
  await status(source, 'completed', to);
  const names = source.eventNames(to);
  t.equal(names[0], 'MIGRATION device');
  t.match(names[1], /^MIGRATION_PASS /);
  t.equal(names[2], 'MIGRATION completed');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('a migration that waits before its switchover is cancelled, and can be made again', { skip }, async (t) => {
  const { source } = await waiting(t);
  const from = source.events.length;
  await source.qmp.execute('migrate_cancel');
  await status(source, 'cancelled', from);
  t.same(source.eventNames(from), ['MIGRATION cancelling', 'RESUME', 'MIGRATION cancelled']);
  t.equal(await source.status(), 'running');
  await source.qmp.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'pause-before-switchover', state: false }],
  });
  await movesAfterAll(t, source);
});

t.test('a destination lost while it is waited before the switchover leaves the guest running', { skip }, async (t) => {
  const { source, destination } = await waiting(t);
  const end = ended(source);
  destination.kill('SIGKILL');
  t.equal((await end).status, 'failed');
  t.equal(await source.status(), 'running');
  await source.nextLine(/^HB /);
});

t.test('validate-uuid: a guest with another UUID is refused, and both sides say so', { skip }, async (t) => {
  const uuid = (digit: string) => ['-uuid', `${digit.repeat(8)}-2222-3333-4444-555555555555`];
  for (const [theirs, refused] of [
    [uuid('2'), true],
    [uuid('1'), false],
    [[], false],
  ] as const) {
    const [source, { daemon: destination, uri }] = await Promise.all([
      TestDaemon.source(t, GUEST, { more: uuid('1') }),
      TestDaemon.destination(t, { more: theirs }),
    ]);
    await enable(source, 'validate-uuid');
    const info = await migrate(source, uri);
    if (!refused) {
      t.equal(info.status, 'completed', info['error-desc'] ?? '');
      continue;
    }
    const sentence = /UUID received is 11111111-2222-3333-4444-555555555555 and local is 22222222-/;
    t.match(info, { status: 'failed', 'error-desc': sentence });
    t.same(await destination.exited, { code: 1, signal: null });
    t.match(destination.stderr, sentence);
    t.equal(await source.status(), 'running');
  }
});

t.test('without validate-uuid the UUID does not matter', { skip }, async (t) => {
  const [source, { uri }] = await Promise.all([
    TestDaemon.source(t, GUEST, { more: ['-uuid', '11111111-2222-3333-4444-555555555555'] }),
    TestDaemon.destination(t, { more: ['-uuid', '22222222-2222-3333-4444-555555555555'] }),
  ]);
  t.equal((await migrate(source, uri)).status, 'completed');
});

/** Clock ticks that the first vCPU has had: proc_pid_stat(5). */
async function vcpuTicks(daemon: TestDaemon): Promise<number> {
  const [vcpu] = await daemon.qmp.execute('query-cpus-fast');
  const stat = readFileSync(`/proc/${daemon.pid}/task/${vcpu?.['thread-id']}/stat`, 'utf8');
  const [utime, stime] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14);
  return Number(utime) + Number(stime);
}

/** How many it has in a second. */
async function busy(daemon: TestDaemon): Promise<number> {
  const before = await vcpuTicks(daemon);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return (await vcpuTicks(daemon)) - before;
}

t.test('auto-converge slows a guest down that dirties more than is sent, until the end', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=8 rate=max hb=50');
  await enable(source, 'auto-converge');
  await source.qmp.execute('set-mplm-migration', { enable: false });
  await source.qmp.execute('migrate-set-parameters', {
    'max-bandwidth': 32 * 2 ** 20,
    'downtime-limit': 0,
    'cpu-throttle-initial': 95,
  });
  const free = await busy(source);
  await source.qmp.execute('migrate', ONE_WAY);
  const throttled = await progress(
    source,
    'the guest is slowed down',
    (info) => info['cpu-throttle-percentage'] !== undefined,
    30_000,
  );
  t.equal(throttled['cpu-throttle-percentage'], 95);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 18 });
  const slow = await busy(source);
  t.ok(slow < free / 2, `${slow} of ${free} ticks a second are left`);
  const end = ended(source);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  t.equal((await end).status, 'completed', 'the slow guest is caught up with');
  await source.qmp.execute('cont');
  t.equal((await source.qmp.execute('query-migrate'))['cpu-throttle-percentage'], undefined);
  t.ok((await busy(source)) > 2 * slow, 'it has its time again');
});

t.test('max-bandwidth is lifted from a running migration, and not forgotten', { skip }, async (t) => {
  const source = await TestDaemon.source(t, GUEST);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 18 });
  const end = ended(source);
  await source.qmp.execute('migrate', ONE_WAY);
  await progress(source, 'it is slow', (info) => info.status === 'active');
  await source.qmp.execute('enable-max-migration-rate-limit');
  t.equal((await end).status, 'completed');
  t.match(await source.qmp.execute('query-migrate-parameters'), { 'max-bandwidth': 2 ** 18 });
  await source.qmp.execute('cont');
  await source.qmp.execute('disable-max-migration-rate-limit');
  await source.qmp.execute('migrate', ONE_WAY);
  const slow = await progress(source, 'it has begun', (info) => Number(info['total-time']) > 1000);
  t.equal(slow.status, 'active', 'the limit holds again');
});
