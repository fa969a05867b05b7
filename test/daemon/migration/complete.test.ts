import { connect } from 'node:net';
import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { consecutive, heartbeats, migrate, mplm } from '../../helpers/migration.js';

const skip = noKvm();
const BUSY = 'fill=32 ws=8 rate=4000 hb=50';

for (const transport of ['tcp', 'unix'] as const) {
  for (const policy of ['mplm', 'precopy'] as const) {
    const how = policy === 'mplm' ? 'with MPLM' : 'with classic pre-copy';
    t.test(`a busy guest moves over ${transport} ${how} and goes on as if nothing had been`, { skip }, async (t) => {
      const [source, { daemon: destination, uri }] = await Promise.all([
        TestDaemon.source(t, BUSY),
        TestDaemon.destination(t, transport === 'tcp' ? { uri: 'tcp:127.0.0.1:0' } : {}),
      ]);
      t.notMatch(uri, /:0$/, 'socket-address shows the port that the kernel chose');
      await source.qmp.execute('set-mplm-migration', { enable: policy === 'mplm', intervaltime: 1 });
      const info = await migrate(source, uri);
      t.equal(info.status, 'completed', info['error-desc'] ?? '');
      t.equal(mplm(info).policy, policy);
      const status = await source.qmp.execute('query-status');
      t.match(status, { status: 'postmigrate', running: false }, 'the source does not run');
      const printed = source.lines.length;

      await destination.line(/^HB /);
      t.equal(await destination.status(), 'running');
      t.match(await destination.verify(), /^VERIFY ok pages=8192 /);
      // Two more, so that one which came before the verification is not all there is to see.
      await destination.nextLine(/^HB /);
      const beats = heartbeats(source, destination);
      t.same(beats, consecutive(beats), 'heartbeats go on by exactly one');
      t.equal(source.lines.length, printed, 'the source prints nothing after its end');
      t.match(await source.qmp.execute('query-status'), { status: 'postmigrate', running: false });
      t.match(await destination.qmp.execute('query-migrate'), { status: 'completed' });
    });
  }
}

t.test('a destination is active, and still says where it listens, once a source is there', { skip }, async (t) => {
  const { daemon: destination, uri } = await TestDaemon.destination(t);
  const listening = await destination.qmp.execute('query-migrate');
  t.notOk('status' in listening);
  const source = connect(uri.slice('unix:'.length));
  t.teardown(() => source.destroy());
  await destination.event('MIGRATION', ({ data }) => data.status === 'active');
  t.same(await destination.qmp.execute('query-migrate'), { status: 'active', ...listening });
});

t.test('the events of a migration come in QEMU’s order on both sides', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=8 rate=0'),
    TestDaemon.destination(t),
  ]);
  t.same(destination.eventNames(), ['MIGRATION setup'], 'migrate-incoming announces itself');
  const sourceFrom = source.events.length;
  t.equal((await migrate(source, uri)).status, 'completed');
  await destination.event('MIGRATION', ({ data }) => data.status === 'completed');
  t.same(source.eventNames(sourceFrom), [
    'MIGRATION setup',
    'MIGRATION_PASS 1',
    'MIGRATION active',
    'STOP',
    'MIGRATION_PASS 2',
    'MIGRATION completed',
  ]);
  t.same(destination.eventNames(1), ['MIGRATION active', 'RESUME', 'MIGRATION completed']);

  await t.rejects(
    destination.qmp.execute('migrate-incoming', { uri: 'tcp:127.0.0.1:0' }),
    { message: 'The incoming migration has already been started' },
    'one guest is enough',
  );
});

t.test('-incoming URI listens from the start, and a port of 0 is told by query-migrate', { skip }, async (t) => {
  const [source, destination] = await Promise.all([
    TestDaemon.source(t, 'fill=8 ws=1 rate=100'),
    TestDaemon.start(t, { incoming: 'tcp:127.0.0.1:0' }),
  ]);
  t.equal(await destination.status(), 'inmigrate');
  let uri: string | undefined;
  while (uri === undefined) uri = await destination.listeningUri().catch(() => undefined);
  t.match(uri, /^tcp:127\.0\.0\.1:[1-9]\d*$/);
  t.equal((await migrate(source, uri)).status, 'completed');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('a paused source arrives paused, and `cont` lets it go on where it stood', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=16 ws=4 rate=2000 hb=50'),
    TestDaemon.destination(t),
  ]);
  await source.qmp.execute('stop');
  const from = source.events.length;
  t.equal((await migrate(source, uri)).status, 'completed');
  t.notOk(source.eventNames(from).includes('STOP'), 'what stands still is not stopped again');
  t.equal(await source.status(), 'postmigrate');
  await destination.event('MIGRATION', ({ data }) => data.status === 'completed');
  t.match(await destination.qmp.execute('query-status'), { status: 'paused', running: false });
  t.notOk(destination.eventNames().includes('RESUME'));
  t.same(destination.lines, [], 'it does not run');
  await destination.qmp.execute('cont');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
  const beats = heartbeats(source, destination);
  t.same(beats, consecutive(beats));
});

t.test('a guest moves on from its destination to a third daemon', { skip }, async (t) => {
  const [source, second, third] = await Promise.all([
    TestDaemon.source(t, BUSY),
    TestDaemon.destination(t),
    TestDaemon.destination(t),
  ]);
  t.equal((await migrate(source, second.uri)).status, 'completed');
  await second.daemon.line(/^HB /);
  t.equal((await migrate(second.daemon, third.uri)).status, 'completed');
  await third.daemon.line(/^HB /);
  t.match(await third.daemon.verify(), /^VERIFY ok/);
  const beats = heartbeats(source, second.daemon, third.daemon);
  t.same(beats, consecutive(beats));
});

t.test('the source never resumes by itself after a completed migration', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=20'),
    TestDaemon.destination(t),
  ]);
  t.equal((await migrate(source, uri)).status, 'completed');
  const printed = source.lines.length;
  // Ten heartbeats of the destination are time enough for a source that would wake up.
  for (let i = 0; i < 10; i++) await destination.nextLine(/^HB /);
  t.equal(source.lines.length, printed);
  t.equal(await source.status(), 'postmigrate');
  t.notOk(source.eventNames().slice(-2).includes('RESUME'));
});
