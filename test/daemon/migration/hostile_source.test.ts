/** Streams that no honest source sends: the destination says what is wrong, and ends. */
import t, { type Test } from 'tap';
import { encodeHeader, HEADER_BYTES, MAX_JSON_BYTES, STREAM_PAGE_SIZE } from '../../../protocol/migration_stream.js';
import { noKvm } from '../../helpers/daemons.js';
import { attack, endedWell, HOSTILE_MEMORY as MEMORY, recordStream } from '../../helpers/hostile_source.js';
import { jsonFrame, pagesFrame, type ReceivedFrame, viewOf } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;
const recording = skip ? [] : recordStream(t);
/** The bytes of `frames`, with `replaced` in the place of those from `at` on. */
function upTo(frames: readonly ReceivedFrame[], at: number, ...replaced: Uint8Array[]): Uint8Array[] {
  return [...frames.slice(0, at).map(({ bytes }) => bytes), ...replaced];
}

/** The recorded stream with frame `at`'s JSON changed; the frames after it follow. */
function withBody(
  frames: readonly ReceivedFrame[],
  at: number,
  change: (body: Record<string, unknown>) => void,
): Uint8Array[] {
  const frame = frames[at] as ReceivedFrame;
  const body = JSON.parse(frame.body.toString()) as Record<string, unknown>;
  change(body);
  const changed = jsonFrame(frame.header.type, body, frame.header.sequence);
  return [...upTo(frames, at, changed), ...frames.slice(at + 1).map(({ bytes }) => bytes)];
}

/** A recorded header, with a word of it overwritten. */
function headerWith(frame: ReceivedFrame, offset: number, value: number): Buffer {
  const bytes = Buffer.from(frame.bytes.subarray(0, HEADER_BYTES));
  bytes.writeUInt32LE(value, offset);
  return bytes;
}

/** Attacks of one kind run beside each other. */
async function refuses(t: Test, attacks: Record<string, [Uint8Array[], RegExp]>): Promise<void> {
  const entries = Object.entries(attacks);
  for (let i = 0; i < entries.length; i += 2) {
    await Promise.all(
      entries.slice(i, i + 2).map(async ([what, [chunks, sentence]]) => {
        const outcome = await attack(t, chunks);
        t.ok(endedWell(outcome), `${what}: ${JSON.stringify(outcome)}`);
        t.match(outcome.stderr, sentence, what);
      }),
    );
  }
}

t.test('a wrong beginning is refused before anything is taken', { skip }, async (t) => {
  const frames = await recording;
  const hello = frames[0] as ReceivedFrame;
  await refuses(t, {
    'another protocol': [
      [Buffer.from('GET / HTTP/1.1\r\nHost: example.org\r\n\r\n')],
      /'handshake': not a migration stream/,
    ],
    'nothing at all': [[], /'handshake': the peer closed the connection at stream offset 0/],
    'half a header': [[hello.bytes.subarray(0, 11)], /'handshake': the peer closed/],
    'half a HELLO': [[hello.bytes.subarray(0, HEADER_BYTES + 9)], /'handshake': the peer closed/],
    'a later version': [
      withBody(frames, 0, (body) => {
        body.version = 3;
      }),
      /the source speaks stream version 3, this destination 2/,
    ],
    'another RAM size': [
      withBody(frames, 0, (body) => {
        (body.machine as Record<string, unknown>).ramBytes = 2 ** 50;
      }),
      /bytes of RAM: the source has 1125899906842624, this destination 16777216/,
    ],
    'a bound of nothing': [
      withBody(frames, 0, (body) => {
        body.maxBufferBytes = 1;
      }),
      /max-buffer-bytes 1 is below 1048576/,
    ],
    'a HELLO that is a list': [[jsonFrame('HELLO', '[1,2]', 0)], /HELLO frame is no JSON object/],
    'a HELLO that is deep': [[jsonFrame('HELLO', `${'['.repeat(100_000)}`, 0)], /HELLO frame is no JSON/],
    'a frame before HELLO': [[jsonFrame('COMMIT', {}, 0)], /COMMIT frame in state 'hello'/],
  });
});

t.test('frames out of their bounds are refused with stage and offset', { skip }, async (t) => {
  const frames = await recording;
  const [hello, second] = frames as [ReceivedFrame, ReceivedFrame];
  const at = hello.bytes.length;
  const after = (...bytes: Uint8Array[]) => [hello.bytes, ...bytes];
  const huge = Buffer.alloc(HEADER_BYTES);
  encodeHeader(viewOf(huge), { type: 'RAM', bodyBytes: 0xfffffff8, pages: 1, sequence: 1 });
  const hugeJson = Buffer.alloc(HEADER_BYTES);
  encodeHeader(viewOf(hugeJson), { type: 'STATE', bodyBytes: MAX_JSON_BYTES + 1, pages: 0, sequence: 1 });
  const ramPages = (MEMORY * MiB) / STREAM_PAGE_SIZE;
  await refuses(t, {
    'a table of 4 GiB': [
      after(huge),
      new RegExp(`'live': RAM frame has a table of 4294967288 bytes at stream offset ${at}`),
    ],
    'a body over its limit': [after(hugeJson), /'live': STATE frame has a body of 262145 bytes/],
    'a range behind RAM': [
      after(pagesFrame('RAM', [[ramPages, 1]], 1), Buffer.alloc(STREAM_PAGE_SIZE)),
      new RegExp(`'live': RAM range ${ramPages}\\+1 is not inside ${ramPages} pages of RAM at stream offset ${at}`),
    ],
    'a range that wraps': [after(pagesFrame('ZERO', [[0xffffffff, 0xffffffff]], 1)), /is not inside/],
    'an empty range': [after(pagesFrame('ZERO', [[0, 0]], 1, 1)), /'live': ZERO range 0\+0 is not inside/],
    'pages that do not add up': [after(pagesFrame('ZERO', [[0, 2]], 1, 3)), /ranges hold 2 pages, the header says 3/],
    'more pages than a frame may have': [
      after(pagesFrame('RAM', [[0, 1]], 1, 16385)),
      /RAM frame has 16385 pages in 1 ranges/,
    ],
    'an unknown type': [after(headerWith(second, 4, 99)), /unknown frame type 99/],
    'a sequence that skips': [after(jsonFrame('SYNC', { epoch: 1 }, 2)), /SYNC frame has sequence 2, expected 1/],
    'an answer': [after(jsonFrame('ACCEPT', {}, 1)), /ACCEPT frame in state 'live'/],
    'a second HELLO': [after(jsonFrame('HELLO', JSON.parse(hello.body.toString()), 1)), /HELLO frame in state 'live'/],
    'a COMMIT before its time': [after(jsonFrame('COMMIT', {}, 1)), /COMMIT frame in state 'live'/],
  });
});

t.test('machine state that is wrong is refused, and the guest never runs', { skip }, async (t) => {
  const frames = await recording;
  const state = frames.findIndex(({ header }) => header.type === 'STATE');
  const digest = frames.length - 1;
  const section = (name: string) =>
    frames.findIndex(({ header, body }) => header.type === 'STATE' && body.toString().includes(`"section":"${name}"`));
  const sequence = (frames[state] as ReceivedFrame).header.sequence;
  const nested = `{"section":"vm","version":1,"data":{"a":${'['.repeat(60_000)}${']'.repeat(60_000)}}}`;
  const small = (i: number) => jsonFrame('STATE', { section: `s${i}`, version: 1, data: {} }, sequence + i);
  await refuses(t, {
    'no state at all': [
      upTo(frames, state, jsonFrame('DIGEST', JSON.parse((frames[digest] as ReceivedFrame).body.toString()), sequence)),
      /DIGEST frame in state 'live'/,
    ],
    'a digest that does not agree': [
      withBody(frames, digest, (body) => {
        body.normalPages = 7;
      }),
      /'load': the source sent 7 pages, and \d+ arrived/,
    ],
    'a run state there is not': [
      withBody(frames, digest, (body) => {
        body.runState = 'flying';
      }),
      /'load': .*runState.*flying/,
    ],
    'more sections than a machine has': [
      upTo(frames, state, ...Array.from({ length: 200 }, (_, i) => small(i))),
      /'load': more sections of machine state than the machine has/,
    ],
    'a section of another version': [
      withBody(frames, state, (body) => {
        body.version = 77;
      }),
      /'load': .*version.*77/,
    ],
    'a section by another name': [
      withBody(frames, section('devices'), (body) => {
        body.section = 'devices-2';
      }),
      /'load': the machine state has a section 'devices-2' that this machine lacks/,
    ],
    'devices without members': [
      withBody(frames, section('devices'), (body) => {
        body.data = {};
      }),
      /'load': /,
    ],
    'a vCPU without registers': [
      withBody(frames, section('vcpu-0'), (body) => {
        body.data = {};
      }),
      /'load': /,
    ],
    'a vCPU whose every number is text': [
      withBody(frames, section('vcpu-0'), (body) => {
        body.data = JSON.parse(JSON.stringify(body.data).replace(/([:[,])(\d+)/g, '$1"$2"'));
      }),
      /'load': /,
    ],
    'a VM with a negative clock': [
      withBody(frames, section('vm'), (body) => {
        (body.data as Record<string, unknown>).clock = '-1';
      }),
      /'load': /,
    ],
    'state deeper than a stack': [upTo(frames, state, jsonFrame('STATE', nested, sequence)), /./],
  });
});
