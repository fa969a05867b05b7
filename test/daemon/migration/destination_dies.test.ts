import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { frozen, migrate, movesAfterAll, progress, recovers, transferred } from '../../helpers/migration.js';
import { FakeDestination } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;

t.test('a connection that is refused is told by the name that was given', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=1');
  for (const [uri, cause] of [
    ['unix:/nonexistent/socket', "Failed to connect to '/nonexistent/socket': No such file or directory"],
    [`unix:${source.dir}`, `Failed to connect to '${source.dir}': Connection refused`],
    ['tcp:localhost:1', "Failed to connect to 'localhost:1': Connection refused"],
  ] as const) {
    t.same(await migrate(source, uri), { status: 'failed', 'error-desc': cause });
  }
});

t.test('a destination killed in the handshake leaves the source running', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  for (const uri of ['tcp:127.0.0.1:0', undefined]) {
    const { daemon: destination, uri: to } = await TestDaemon.destination(t, uri === undefined ? {} : { uri });
    destination.kill('SIGSTOP');
    const from = source.events.length;
    await source.qmp.execute('migrate', { uri: to });
    t.match(await source.qmp.execute('query-migrate'), { status: 'setup' });
    // It may be lost before the source's first frame: that is still the connection which fails.
    await recovers(t, source, /^Failed to connect to |in stage 'handshake': /, () => destination.kill('SIGKILL'));
    t.same(source.eventNames(from), ['MIGRATION setup', 'MIGRATION failed'], 'it was never paused');
  }
  await movesAfterAll(t, source);
});

t.test('a destination that closes instead of accepting fails the handshake', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.connection();
  await peer.until('HELLO');
  await recovers(t, source, /in stage 'handshake': /, () => peer.destroy());
  await movesAfterAll(t, source);
});

t.test('a destination killed in the live stage leaves the source running', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=32 ws=4 rate=2000 hb=50');
  for (const uri of ['tcp:127.0.0.1:0', undefined]) {
    const { daemon: destination, uri: to } = await TestDaemon.destination(t, uri === undefined ? {} : { uri });
    await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 4 * MiB });
    const from = source.events.length;
    await source.qmp.execute('migrate', { uri: to });
    await progress(source, 'pages were sent', (info) => transferred(info) > MiB);
    await recovers(t, source, /in stage 'live': /, () => destination.kill('SIGKILL'));
    t.notOk(source.eventNames(from).includes('STOP'), 'it was never paused');
  }
  await movesAfterAll(t, source);
});

t.test('a destination killed in stop-and-copy leaves the source running', { skip }, async (t) => {
  for (const uri of ['tcp:127.0.0.1:0', undefined]) {
    const { source, destination } = await frozen(t, 'stop-and-copy', uri);
    t.equal(await source.status(), 'finish-migrate');
    await recovers(t, source, /in stage 'stop-and-copy': /, () => destination.kill('SIGKILL'));
    t.same(source.eventNames().slice(-2), ['RESUME', 'MIGRATION failed']);
    if (uri === undefined) await movesAfterAll(t, source);
  }
});

t.test('a destination killed while it loads leaves the source running', { skip }, async (t) => {
  const { source, destination } = await frozen(t, 'load');
  t.equal(await source.status(), 'finish-migrate');
  await recovers(t, source, /in stage 'load': /, () => destination.kill('SIGKILL'));
  await movesAfterAll(t, source);
});

t.test('a destination that goes in the middle of saying READY leaves the source running', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.accepted();
  await peer.until('DIGEST');
  // The first bytes of a header: magic and type READY.
  peer.sendBytes(Uint8Array.of(0x50, 0x4c, 0x50, 0x4d, 9, 0));
  await recovers(t, source, /in stage 'load': /, () => peer.destroy());
  await movesAfterAll(t, source);
});
