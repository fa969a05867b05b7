import t, { type Test } from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import {
  ended,
  extendedAndWaiting,
  frozen,
  migrate,
  movesAfterAll,
  progress,
  transferred,
} from '../../helpers/migration.js';
import { FakeDestination } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;
/** From the loss of the destination to a source that runs and says why. */
const RECOVERY_MS = 1000;

/** `lose` takes the destination away: the source runs within a second, and says in which stage that was. */
async function recovers(t: Test, source: TestDaemon, stage: RegExp, lose: () => void): Promise<void> {
  const end = ended(source);
  const lostMs = Date.now();
  lose();
  const info = await end;
  t.equal(await source.status(), 'running');
  t.ok(Date.now() - lostMs < RECOVERY_MS, `it runs after ${Date.now() - lostMs} ms`);
  t.equal(info.status, 'failed');
  t.match(info['error-desc'], stage);
  await source.nextLine(/^HB /);
}

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

t.test('a destination stopped before the last pages keeps nobody waiting but the migration', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50'),
    TestDaemon.destination(t),
  ]);
  await extendedAndWaiting(source, uri);
  const from = source.events.length;
  destination.kill('SIGSTOP');
  await source.qmp.execute('set-mplm-end-live');
  for (let i = 0; i < 5; i++) await source.nextLine(/^HB /);
  t.equal(await source.status(), 'running', 'the guest is paused only when the destination has taken in what was sent');
  await recovers(t, source, /in stage 'live': /, () => destination.kill('SIGKILL'));
  t.notOk(source.eventNames(from).includes('STOP'));
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

t.test(
  'a destination that stalls in the middle of saying READY holds the guest for a bounded time',
  { skip },
  async (t) => {
    const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
    const fake = await FakeDestination.listen(t);
    const end = ended(source);
    await source.qmp.execute('migrate', { uri: fake.uri });
    const peer = await fake.accepted();
    await peer.until('DIGEST');
    peer.sendBytes(Uint8Array.of(0x50, 0x4c, 0x50, 0x4d, 9, 0));
    const info = await end;
    t.match(info, {
      status: 'failed',
      'error-desc': /in stage 'load': the peer sent only a part of a frame within 5000 ms/,
    });
    t.equal(await source.status(), 'running');
  },
);

t.test('a destination that takes nothing while the guest stands still is given up', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=40 ws=40 rate=max hb=50');
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.accepted();
  const stopped = source.event('STOP');
  // Reads along until the guest is paused, and then nothing more.
  let reading = true;
  const read = (async () => {
    while (reading) await peer.frame();
  })().catch(() => undefined);
  const end = ended(source);
  await stopped;
  reading = false;
  peer.stall();
  const stalledMs = Date.now();
  const info = await end;
  t.ok(Date.now() - stalledMs < 7000, `the guest stood still for ${Date.now() - stalledMs} ms`);
  t.match(info, {
    status: 'failed',
    'error-desc':
      /in stage '(stop-and-copy': the destination took no data|load': the destination did not load the machine within)/,
  });
  t.equal(await source.status(), 'running');
  peer.destroy();
  await read;
  await movesAfterAll(t, source);
});

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
