import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, extendedAndWaiting, movesAfterAll, mplm, progress, transferred } from '../../helpers/migration.js';
import { FakeDestination, type StreamPeer } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;
const CANCEL_MS = 1000;

/** Cancels twice; the guest runs and beats, and `query-migrate` says cancelled, within a second. */
async function cancels(t: Test, source: TestDaemon): Promise<void> {
  const end = ended(source);
  const beganMs = Date.now();
  await Promise.all([source.qmp.execute('migrate_cancel'), source.qmp.execute('migrate_cancel')]);
  const info = await end;
  t.ok(Date.now() - beganMs < CANCEL_MS, `cancelled after ${Date.now() - beganMs} ms`);
  t.same(info, { status: 'cancelled' });
  t.equal(source.eventNames().at(-1), 'MIGRATION cancelled');
  t.equal(await source.status(), 'running');
  await source.qmp.execute('migrate_cancel');
  t.same(await source.qmp.execute('query-migrate'), { status: 'cancelled' }, 'a third time changes nothing');
  await source.nextLine(/^HB /);
}

/** Reads along until `stop` is called. */
function reading(peer: StreamPeer): { stop(): void } {
  let on = true;
  void (async () => {
    while (on) await peer.frame();
  })().catch(() => undefined); // the end of the connection is what these tests are about
  return {
    stop: () => {
      on = false;
      peer.stall();
    },
  };
}

t.test('migrate_cancel where nothing runs is no error', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 hb=50');
  await source.qmp.execute('migrate_cancel');
  t.same(await source.qmp.execute('query-migrate'), {});
});

t.test('a migration whose connect hangs is cancelled', { skip }, async (t) => {
  const [source, { daemon: busy, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50'),
    TestDaemon.destination(t, { uri: 'tcp:127.0.0.1:0' }),
  ]);
  // A listener that accepts nobody and whose queue is full answers no SYN.
  busy.kill('SIGSTOP');
  const port = Number(uri.split(':').at(-1));
  for (let i = 0; i < 4; i++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    t.teardown(() => {
      socket.destroy();
    });
    if (i < 2) await new Promise((resolve) => socket.once('connect', resolve));
  }
  await source.qmp.execute('migrate', { uri });
  t.same(await source.qmp.execute('query-migrate'), { status: 'setup' });
  const [, cancelling] = await Promise.all([source.qmp.execute('migrate_cancel'), source.qmp.execute('query-migrate')]);
  t.match(cancelling, { status: 'cancelling', mplm: { 'epoch-elapsed': 0 } }, 'no epoch has begun');
  await cancels(t, source);
  await movesAfterAll(t, source);
});

t.test('a migration whose destination never answers is cancelled', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  for (const transport of ['unix', 'tcp'] as const) {
    const fake = await FakeDestination.listen(t, transport);
    const from = source.events.length;
    await source.qmp.execute('migrate', { uri: fake.uri });
    const peer = await fake.connection();
    await peer.until('HELLO');
    await cancels(t, source);
    await peer.closed;
    t.same(source.eventNames(from), [
      'MIGRATION setup',
      'MIGRATION_PASS 1',
      'MIGRATION active',
      'MIGRATION cancelling',
      'MIGRATION cancelled',
    ]);
  }
  await movesAfterAll(t, source);
});

t.test(
  'a live migration is cancelled, while it is throttled and while it is blocked in the socket',
  { skip },
  async (t) => {
    const source = await TestDaemon.source(t, 'fill=48 ws=4 rate=2000 hb=50');
    for (const how of ['throttled', 'blocked'] as const) {
      const fake = await FakeDestination.listen(t);
      await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': how === 'throttled' ? 4 * MiB : 0 });
      const from = source.events.length;
      await source.qmp.execute('migrate', { uri: fake.uri });
      const peer = await fake.accepted();
      if (how === 'throttled') reading(peer);
      // A frame that the socket does not take whole is not counted yet.
      const sent = how === 'throttled' ? MiB / 2 : 0;
      await progress(source, 'pages are sent', (info) => info.status === 'active' && transferred(info) >= sent);
      await cancels(t, source);
      t.notOk(source.eventNames(from).includes('STOP'), 'it was never paused');
      peer.destroy();
    }
    await movesAfterAll(t, source);
  },
);

t.test('a migration is cancelled in the middle of stop-and-copy', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=40 ws=40 rate=max hb=50');
  const fake = await FakeDestination.listen(t);
  const [reader] = await Promise.all([fake.accepted().then(reading), extendedAndWaiting(source, fake.uri)]);
  const from = source.events.length;
  await source.qmp.execute('set-mplm-end-live');
  await source.event('STOP', undefined, { from });
  reader.stop();
  await progress(source, 'the last pages are sent', (info) => mplm(info).stage === 'stop-and-copy');
  await cancels(t, source);
  t.same(source.eventNames(from).slice(-2), ['RESUME', 'MIGRATION cancelled']);
  await movesAfterAll(t, source);
});

t.test('a migration is cancelled while its destination loads', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.accepted();
  await peer.until('DIGEST');
  await progress(source, 'all is sent', (info) => mplm(info).stage === 'load');
  await cancels(t, source);
  await movesAfterAll(t, source);
});

t.test('the destination of a cancelled migration ends and never runs the guest', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=32 ws=1 rate=500 hb=50'),
    TestDaemon.destination(t),
  ]);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 4 * MiB });
  await source.qmp.execute('migrate', { uri });
  await progress(source, 'pages were sent', (info) => transferred(info) > MiB);
  await cancels(t, source);
  t.same(await destination.exited, { code: 1, signal: null });
  t.match(destination.stderr, /^vmhostd: Migration failed in stage 'live': [^\n]+\n$/);
  t.notOk(destination.eventNames().includes('RESUME'));
});
