import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, extendedAndWaiting, movesAfterAll, recovers } from '../../helpers/migration.js';
import { FakeDestination } from '../../helpers/stream_peer.js';

const skip = noKvm();

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
