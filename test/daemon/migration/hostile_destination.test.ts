/** Answers that no honest destination gives: the source goes on running its guest, and says why. */
import fc from 'fast-check';
import t from 'tap';
import { encodeHeader, type FrameName, HEADER_BYTES, MAX_JSON_BYTES } from '../../../protocol/migration_stream.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, movesAfterAll, mplm, progress } from '../../helpers/migration.js';
import { FakeDestination, jsonFrame, type StreamPeer, viewOf } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;

function header(type: FrameName, bodyBytes: number, pages = 0, sequence = 0): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  encodeHeader(viewOf(bytes), { type, bodyBytes, pages, sequence });
  return bytes;
}

/** One migration to a destination that does `act` once HELLO is there: its `error-desc`. */
async function failure(
  t: Parameters<typeof FakeDestination.listen>[0],
  source: TestDaemon,
  act: (peer: StreamPeer) => unknown,
): Promise<string> {
  const fake = await FakeDestination.listen(t);
  const end = ended(source);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.connection();
  await peer.until('HELLO');
  await act(peer);
  const info = await end;
  peer.destroy();
  fake.close();
  return info.status === 'failed' ? String(info['error-desc']) : `status ${info.status}`;
}

t.test('answers that are none fail the handshake and leave the source running', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  const answers: Record<string, [Uint8Array, RegExp]> = {
    'another protocol': [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /not a migration stream/],
    'an unknown type': [Buffer.from('504c4d4c'.padEnd(48, '0'), 'hex').fill(0), /not a migration stream: magic 0x0/],
    'an answer out of turn': [jsonFrame('READY', {}, 0), /the destination sent READY/],
    'a life sign': [jsonFrame('ALIVE', {}, 0), /the destination sent ALIVE/],
    'a frame of pages': [header('RAM', 8, 1), /the destination sent RAM/],
    'a body over its limit': [header('ACCEPT', MAX_JSON_BYTES + 1), /ACCEPT frame has a body of 262145 bytes/],
    'no JSON': [jsonFrame('ACCEPT', 'nonsense', 0), /ACCEPT frame is no JSON/],
    'another sequence': [jsonFrame('ACCEPT', {}, 5), /ACCEPT frame has sequence 5, expected 0/],
    'a refusal without a reason': [jsonFrame('REFUSE', {}, 0), /the destination refused: no reason given/],
  };
  for (const [what, [bytes, sentence]] of Object.entries(answers)) {
    const desc = await failure(t, source, (peer) => peer.sendBytes(bytes));
    t.match(desc, /^Migration failed in stage 'handshake': /, what);
    t.match(desc, sentence, what);
    t.equal(await source.status(), 'running', what);
  }
  const long = await failure(t, source, (peer) => peer.send('REFUSE', { reason: 'x'.repeat(100_000) }));
  t.ok(long.length < 2000, `a reason of 100 kB is cut to ${long.length} characters`);
  const lines = await failure(t, source, (peer) => peer.send('REFUSE', { reason: 'one\ntwo\u0000\u001b[31m' }));
  t.notMatch(lines, /\p{Cc}/u, 'a reason cannot forge lines of a log');
  await movesAfterAll(t, source);
});

t.test(
  'an answer out of turn in the live stage, or instead of READY, leaves the source running',
  { skip },
  async (t) => {
    const source = await TestDaemon.source(t, 'fill=24 ws=1 rate=500 hb=50');
    for (const bytes of [Buffer.from('garbage'.repeat(20)), jsonFrame('RUNNING', {}, 1), jsonFrame('ACCEPT', {}, 1)]) {
      await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 4 * MiB });
      const desc = await failure(t, source, async (peer) => {
        peer.accept();
        await progress(source, 'it runs', (info) => info.status === 'active');
        peer.sendBytes(bytes);
      });
      t.match(desc, /^Migration failed in stage 'live': /);
      t.equal(await source.status(), 'running');

      await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
      const late = await failure(t, source, async (peer) => {
        peer.accept();
        await peer.until('DIGEST');
        peer.sendBytes(bytes);
      });
      t.match(late, /^Migration failed in stage 'load': /);
      t.equal(await source.status(), 'running');
    }
    await movesAfterAll(t, source);
  },
);

t.test('a destination that only says that it is alive can be cancelled', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  const fake = await FakeDestination.listen(t);
  const end = ended(source);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.accepted();
  await peer.until('DIGEST');
  for (let i = 0; i < 100; i++) peer.send('ALIVE');
  await progress(source, 'it waits', (info) => mplm(info).stage === 'load');
  await source.qmp.execute('migrate_cancel');
  t.equal((await end).status, 'cancelled');
  t.equal(await source.status(), 'running');
});

t.test('whatever bytes answer a HELLO, the source goes on running', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=500 hb=50');
  const accept = jsonFrame('ACCEPT', { version: 1, maxBufferBytes: MiB }, 0);
  const answer = fc.oneof(
    fc.uint8Array({ minLength: 0, maxLength: 200 }),
    // A byte of a good answer is changed: what follows is a refusal, or a stream that ends at once.
    fc.tuple(fc.nat(accept.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, bits]) => {
      const bytes = Buffer.from(accept);
      bytes.writeUInt8(bytes.readUInt8(at) ^ bits, at);
      return new Uint8Array(bytes);
    }),
  );
  await fc.assert(
    fc.asyncProperty(answer, async (bytes) => {
      const desc = await failure(t, source, (peer) => {
        peer.sendBytes(bytes);
        peer.socket.end();
      });
      if (!/^Migration failed in stage '(handshake|live|stop-and-copy|load)': [^\n]+$/.test(desc))
        throw new Error(desc);
      const status = await source.status();
      if (status !== 'running') throw new Error(`the source is ${status} after: ${desc}`);
    }),
    { numRuns: 40, endOnFailure: true },
  );
  await movesAfterAll(t, source);
});
