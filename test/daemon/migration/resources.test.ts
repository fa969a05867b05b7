/** A migration, however it ends, leaves nothing behind in its process. */
import t, { type Test } from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, extendedAndWaiting, migrate, progress } from '../../helpers/migration.js';
import { FakeDestination } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;

type Resources = ReturnType<TestDaemon['resources']>;

/** fds, memfds and threads are those of `before`, as soon as `ended` says so or within a moment; memory is about the same. */
async function backTo(t: Test, daemon: TestDaemon, before: Resources, what: string): Promise<void> {
  const { fds, memfds, sockets, threads } = before;
  let now = daemon.resources();
  const deadlineMs = Date.now() + 3000;
  // `query-migrate` tells the end a moment before the thread is gone: each look is a round trip.
  while ((now.fds !== fds || now.threads !== threads) && Date.now() < deadlineMs) {
    await daemon.qmp.execute('query-migrate');
    now = daemon.resources();
  }
  const { anonymousBytes, ...counts } = now;
  t.same(counts, { fds, memfds, sockets, threads }, what);
  const grown = anonymousBytes - before.anonymousBytes;
  t.ok(grown < 48 * MiB, `${what}: memory of its own grew by ${(grown / MiB).toFixed(1)} MiB`);
}

t.test('failed, cancelled and completed migrations give back fds, threads and memory', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=24 ws=4 rate=2000 hb=50');
  const { sockets } = source.resources();
  // A first one, so that what Node keeps for all later threads is there.
  await migrate(source, 'unix:/nonexistent/socket');
  const warm = await FakeDestination.listen(t);
  const cancelled = ended(source);
  await source.qmp.execute('migrate', { uri: warm.uri });
  await warm.accepted();
  await progress(source, 'it runs', (info) => info.status === 'active');
  await source.qmp.execute('migrate_cancel');
  await cancelled;
  let before = source.resources();
  const settledMs = Date.now() + 3000;
  // The warm-up's thread may still be on its way out; main closes its socket once it is gone.
  for (; before.sockets !== sockets && Date.now() < settledMs; before = source.resources()) {
    await source.nextLine(/^HB /);
  }
  t.equal(before.sockets, sockets, 'the migration’s socket is closed');
  t.equal(before.memfds, 1, 'guest RAM is the one memfd');

  for (let round = 0; round < 3; round++) {
    await migrate(source, 'unix:/nonexistent/socket');
    await backTo(t, source, before, `round ${round}, failed to connect`);

    const refusing = await FakeDestination.listen(t);
    const refused = ended(source);
    await source.qmp.execute('migrate', { uri: refusing.uri });
    (await refusing.connection()).send('REFUSE', { reason: 'not today' });
    t.match(await refused, { status: 'failed', 'error-desc': /the destination refused: not today$/ });
    await backTo(t, source, before, `round ${round}, refused`);

    const lost = await FakeDestination.listen(t);
    const failed = ended(source);
    await source.qmp.execute('migrate', { uri: lost.uri });
    const peer = await lost.accepted();
    await peer.until('DIGEST');
    peer.destroy();
    t.equal((await failed).status, 'failed');
    await backTo(t, source, before, `round ${round}, failed at the end`);

    const silent = await FakeDestination.listen(t);
    const cancel = ended(source);
    await source.qmp.execute('migrate', { uri: silent.uri });
    await silent.accepted();
    await progress(source, 'it runs', (info) => info.status === 'active');
    await source.qmp.execute('migrate_cancel');
    t.equal((await cancel).status, 'cancelled');
    await backTo(t, source, before, `round ${round}, cancelled`);
  }

  const { daemon: destination, uri } = await TestDaemon.destination(t);
  await extendedAndWaiting(source, uri);
  const end = ended(source);
  await source.qmp.execute('set-mplm-end-live');
  t.equal((await end).status, 'completed');
  await backTo(t, source, before, 'completed');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
  // It has had a migration too, and nothing of that is left: it holds what the source held after its first.
  await backTo(t, destination, before, 'the destination');
});
