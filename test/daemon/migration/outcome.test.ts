import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, migrate, movesAfterAll, progress, transferred } from '../../helpers/migration.js';
import { FakeDestination } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;

t.test('after COMMIT without RUNNING the outcome is unknown: paused until an explicit cont', { skip }, async (t) => {
  const endings: Record<string, (peer: Awaited<ReturnType<FakeDestination['accepted']>>) => void> = {
    'goes away': (peer) => peer.destroy(),
    'says something else': (peer) => peer.send('ALIVE'),
    'refuses too late': (peer) => peer.send('REFUSE', { reason: 'too late' }),
    'sends garbage': (peer) => peer.sendBytes(Buffer.from('x'.repeat(100))),
  };
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  for (const [what, act] of Object.entries(endings)) {
    const fake = await FakeDestination.listen(t);
    const from = source.events.length;
    const end = ended(source);
    await source.qmp.execute('migrate', { uri: fake.uri });
    const peer = await fake.accepted();
    await peer.until('DIGEST');
    peer.send('READY');
    await peer.until('COMMIT');
    act(peer);
    const info = await end;
    t.equal(info.status, 'failed', what);
    t.match(info['error-desc'], /in stage 'commit': .*stays paused here; `cont` only if it does not run there$/, what);
    t.match(await source.qmp.execute('query-status'), { status: 'paused', running: false }, what);
    t.notOk(source.eventNames(from).includes('RESUME'), what);
    const printed = source.lines.length;
    await source.qmp.execute('cont');
    t.equal(await source.status(), 'running');
    await source.line(/^HB /, { from: printed });
  }
  await movesAfterAll(t, source);
});

t.test('cancelling after COMMIT changes nothing', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  const fake = await FakeDestination.listen(t);
  const end = ended(source);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.accepted();
  await peer.until('DIGEST');
  peer.send('READY');
  await peer.until('COMMIT');
  await source.qmp.execute('migrate_cancel');
  t.match(await source.qmp.execute('query-migrate'), { status: 'active', mplm: { stage: 'commit' } });
  peer.send('RUNNING');
  t.equal((await end).status, 'completed');
  t.equal(await source.status(), 'postmigrate');
});

t.test('a source killed in the live stage ends its destination, which never runs the guest', { skip }, async (t) => {
  for (const uri of ['tcp:127.0.0.1:0', undefined]) {
    const [source, { daemon: destination, uri: to }] = await Promise.all([
      TestDaemon.source(t, 'fill=32 ws=4 rate=2000 hb=50'),
      TestDaemon.destination(t, uri === undefined ? {} : { uri }),
    ]);
    await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 4 * MiB });
    await source.qmp.execute('migrate', { uri: to });
    await progress(source, 'pages were sent', (info) => transferred(info) > MiB);
    source.kill('SIGKILL');
    t.same(await destination.exited, { code: 1, signal: null });
    t.match(destination.stderr, /^vmhostd: Migration failed in stage 'live': [^\n]+\n$/, 'one sentence says why');
    t.same(destination.eventNames().slice(-2), ['MIGRATION active', 'MIGRATION failed']);
    t.notOk(destination.eventNames().includes('RESUME'));
    t.same(destination.lines, []);
  }
});

t.test('a refusal of the destination is told on both sides, with the stage', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50'),
    TestDaemon.destination(t, { memory: 128 }),
  ]);
  const info = await migrate(source, uri);
  const cause = 'bytes of RAM: the source has 67108864, this destination 134217728';
  t.match(info, {
    status: 'failed',
    'error-desc': `Migration failed in stage 'handshake': the destination refused: ${cause}`,
  });
  t.same(await destination.exited, { code: 1, signal: null });
  t.equal(destination.stderr, `vmhostd: Migration failed in stage 'handshake': ${cause}\n`);
  await movesAfterAll(t, source);
});
