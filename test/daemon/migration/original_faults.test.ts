/** What the original MPLM implementation gets wrong: each is shown to be right here. */
import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, migrate, mplm, progress, transferred } from '../../helpers/migration.js';
import { FakeDestination } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;

t.test('an idle guest’s MPLM migration completes at once, not at an epoch’s end', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=32 rate=0'),
    TestDaemon.destination(t),
  ]);
  await source.qmp.execute('set-mplm-migration', { enable: true, intervaltime: 60 });
  const beganMs = Date.now();
  const info = await migrate(source, uri);
  t.equal(info.status, 'completed');
  t.ok(Date.now() - beganMs < 3000, `${Date.now() - beganMs} ms of an epoch of 60 s`);
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('an idle guest whose epoch is never over can be cancelled in an extended live stage', { skip }, async (t) => {
  const [source, { uri }] = await Promise.all([TestDaemon.source(t, 'fill=8 rate=0'), TestDaemon.destination(t)]);
  await source.qmp.execute('set-mplm-migration', { enable: true, intervaltime: 3600 });
  await source.qmp.execute('migrate', { uri });
  await source.qmp.execute('set-mplm-extend-live');
  await progress(source, 'all is sent', (info) => info.status === 'active' && mplm(info)['non-dirty-pages'] === 0);
  const end = ended(source);
  const beganMs = Date.now();
  await source.qmp.execute('migrate_cancel');
  t.same(await end, { status: 'cancelled' });
  t.ok(Date.now() - beganMs < 1000);
});

t.test('settings persist over a failed, a cancelled and a completed migration', { skip }, async (t) => {
  const settings = { firstnondirty: false, intervaltime: 7, relaxlivemig: false, dirtypercents: 31 };
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=16 rate=0'),
    TestDaemon.destination(t),
  ]);
  await source.qmp.execute('set-mplm-migration', { enable: true, ...settings });
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 4 * MiB, 'downtime-limit': 123 });

  t.equal((await migrate(source, 'unix:/nonexistent/socket')).status, 'failed');
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  await fake.accepted();
  t.match(mplm(await progress(source, 'it runs', (info) => info.status === 'active')), settings, 'after a failed one');
  const end = ended(source);
  await source.qmp.execute('migrate_cancel');
  t.equal((await end).status, 'cancelled');

  t.match(await source.qmp.execute('query-migrate-parameters'), { 'max-bandwidth': 4 * MiB, 'downtime-limit': 123 });
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  const info = await migrate(source, uri);
  t.equal(info.status, 'completed');
  t.match(mplm(info), { policy: 'mplm', ...settings }, 'after a cancelled one');
  const on = (await source.qmp.execute('query-migrate-capabilities')).filter(({ state }) => state);
  t.same(
    on.map(({ capability }) => capability),
    ['events'],
  );

  await destination.line(/^HB /);
  await source.qmp.execute('cont');
  const again = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: again.uri });
  await again.accepted();
  t.match(
    mplm(await progress(source, 'it runs', (info) => info.status === 'active')),
    settings,
    'after a completed one',
  );
});

t.test(
  'MPLM switched on during a running pre-copy is for later migrations and leaves that one alone',
  { skip },
  async (t) => {
    const [source, first, second] = await Promise.all([
      TestDaemon.source(t, 'fill=24 ws=2 rate=500 hb=50'),
      TestDaemon.destination(t),
      TestDaemon.destination(t),
    ]);
    await source.qmp.execute('set-mplm-migration', { enable: false });
    await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 8 * MiB });
    const end = ended(source);
    await source.qmp.execute('migrate', { uri: first.uri });
    await progress(source, 'pages were sent', (info) => transferred(info) > MiB);
    await source.qmp.execute('set-mplm-migration', { enable: true, intervaltime: 2 });
    t.match(await source.qmp.execute('query-migrate'), { status: 'active', mplm: { policy: 'precopy' } });
    await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
    const info = await end;
    t.equal(info.status, 'completed', info['error-desc'] ?? '');
    t.equal(mplm(info).policy, 'precopy');
    await first.daemon.line(/^HB /);
    t.match(await first.daemon.verify(), /^VERIFY ok/);

    // The setting was the source's: of its next migration.
    await source.qmp.execute('cont');
    const later = await migrate(source, second.uri);
    t.match(later, { status: 'completed', mplm: { policy: 'mplm', intervaltime: 2 } });
  },
);

t.test('MPLM switched off during a running MPLM migration leaves that one alone', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=24 ws=2 rate=500 hb=50'),
    TestDaemon.destination(t),
  ]);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 8 * MiB });
  const end = ended(source);
  await source.qmp.execute('migrate', { uri });
  await progress(source, 'pages were sent', (info) => transferred(info) > MiB);
  await source.qmp.execute('set-mplm-migration', { enable: false });
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  t.match(await end, { status: 'completed', mplm: { policy: 'mplm' } });
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('an extended live stage goes on at the epochs’ pace, and ends when told to', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=16 ws=4 rate=2000 hb=50'),
    TestDaemon.destination(t),
  ]);
  await source.qmp.execute('set-mplm-migration', { enable: true, intervaltime: 1 });
  const end = ended(source);
  const from = source.events.length;
  const beganMs = Date.now();
  await source.qmp.execute('migrate', { uri });
  await source.qmp.execute('set-mplm-extend-live');
  // Pass 1 begins it, and each epoch's end is one more.
  await source.event('MIGRATION_PASS', ({ data }) => data.pass === 4, { from });
  const info = await source.qmp.execute('query-migrate');
  const seconds = (Date.now() - beganMs) / 1000;
  t.equal(mplm(info).extended, true);
  t.ok(seconds > 2.9, `3 epochs of 1 s took ${seconds} s`);
  t.ok((info.ram?.['dirty-sync-count'] ?? 0) <= seconds + 2, `${info.ram?.['dirty-sync-count']} syncs in ${seconds} s`);
  t.equal(await source.status(), 'running');
  const endedMs = Date.now();
  await source.qmp.execute('set-mplm-end-live');
  t.match(await end, { status: 'completed', mplm: { extended: false } });
  t.ok(Date.now() - endedMs < 3000, 'the end does not wait for an epoch');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('an extension does not stick after a cancel', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=16 ws=1 rate=500 hb=50'),
    TestDaemon.destination(t),
  ]);
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  await source.qmp.execute('set-mplm-extend-live');
  await fake.accepted();
  await progress(source, 'it is extended', (info) => info.status === 'active' && mplm(info).extended);
  const end = ended(source);
  await source.qmp.execute('migrate_cancel');
  t.equal((await end).status, 'cancelled');
  const info = await migrate(source, uri);
  t.match(info, { status: 'completed', mplm: { extended: false } }, 'the next migration ends by itself');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('extending or ending the live stage is refused visibly where it has no effect', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=16 rate=0');
  const refusal = async (command: 'set-mplm-extend-live' | 'set-mplm-end-live', message: RegExp) =>
    t.rejects(source.qmp.execute(command), { message }, `${command}: ${message}`);
  await refusal('set-mplm-extend-live', /^No migration is running whose live stage could be extended$/);
  await refusal('set-mplm-end-live', /^No migration is running whose live stage could be ended$/);

  await source.qmp.execute('set-mplm-migration', { enable: false });
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  await fake.accepted();
  await progress(source, 'it runs', (info) => info.status === 'active');
  await refusal('set-mplm-extend-live', /classic pre-copy: only an MPLM migration has a live stage to extend$/);
  await refusal('set-mplm-end-live', /classic pre-copy: only an MPLM migration has a live stage to extend$/);
  const end = ended(source);
  await source.qmp.execute('migrate_cancel');
  await end;
  await refusal('set-mplm-extend-live', /^No migration is running/);

  await source.qmp.execute('set-mplm-migration', { enable: true });
  const mplmFake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: mplmFake.uri });
  await refusal('set-mplm-end-live', /^The live stage of this migration was not extended$/);
});

t.test('bad arguments are refused by name and change nothing', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=16 rate=0');
  const settings = { firstnondirty: false, intervaltime: 9, relaxlivemig: false, dirtypercents: 12 };
  await source.qmp.execute('set-mplm-migration', { enable: true, ...settings });
  for (const dirtypercents of [0, 100, 150, -5, 2 ** 40]) {
    await t.rejects(
      source.qmp.execute('set-mplm-migration', { enable: true, intervaltime: 4, dirtypercents }),
      {
        message: new RegExp(`^Parameter 'dirtypercents' expects .*${dirtypercents}|^Parameter 'dirtypercents' expects`),
      },
      `dirtypercents ${dirtypercents}`,
    );
  }
  for (const intervaltime of [0, -1, 2 ** 40, -(2n ** 63n), 2n ** 63n - 1n]) {
    await t.rejects(
      source.qmp.executeRaw('set-mplm-migration', { enable: true, intervaltime, dirtypercents: 3 }),
      { message: /^Parameter 'intervaltime' expects/ },
      `intervaltime ${intervaltime}`,
    );
  }
  for (const bad of [{ enable: 1 }, { enable: true, relaxlivemig: 'yes' }, { enable: true, speed: 3 }, {}]) {
    await t.rejects(
      source.qmp.executeRaw('set-mplm-migration', bad),
      { message: /'(enable|relaxlivemig|speed)'/ },
      JSON.stringify(bad),
    );
  }
  for (const bound of [0, -1, 1, 4096, MiB - 1, 2n ** 63n - 1n]) {
    await t.rejects(
      source.qmp.executeRaw('migrate', { uri: 'unix:/nonexistent', 'max-buffer-bytes': bound }),
      { message: /'max-buffer-bytes'/ },
      `max-buffer-bytes ${bound}`,
    );
  }
  t.same(await source.qmp.execute('query-migrate'), {}, 'nothing was begun');
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  await fake.accepted();
  const info = await progress(source, 'it runs', ({ status }) => status === 'active');
  t.match(mplm(info), settings, 'the settings are those from before');
});
