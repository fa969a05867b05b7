/** Whatever bytes come, in whatever pieces: the same replies, and a daemon that goes on. */
import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { JsonReader } from '../../../protocol/json_reader.js';
import { encodeJson } from '../../../protocol/json_writer.js';
import { findCommand } from '../../../protocol/qmp_commands.js';
import { QmpSession } from '../../../protocol/qmp_dispatch.js';
import { NONE } from '../../conformance/cases/machines.js';
import { Peer } from '../../conformance/peer.js';
import { Stage } from '../../conformance/stage.js';

const PIECES = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  "'",
  '\\',
  '\n',
  '\xff',
  '\0',
  '1',
  '-',
  '.',
  'e5',
  'true',
  'nul',
  '"\\u00',
  '{"execute":"query-name","id":',
  '{"execute":"qmp_capabilities"}',
  '{"exec-oob":"query-yank"}',
  '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}',
];
/** Bytes as a latin-1 text: any at all, and pieces of commands. */
const stream = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...PIECES) },
      fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''));
const cuts = fc.array(fc.nat(400), { maxLength: 12 });

function cut(text: string, at: readonly number[]): string[] {
  const places = [0, ...[...at].filter((place) => place < text.length).sort((a, b) => a - b), text.length];
  return places.slice(1).map((end, i) => text.slice(places[i], end));
}

/** What a session answers, without a socket; commands are not run. */
function answers(chunks: readonly string[]): string {
  const session = new QmpSession(findCommand);
  const reader = new JsonReader();
  let text = '';
  for (const chunk of chunks) {
    for (const input of reader.feed(Buffer.from(chunk, 'latin1'))) {
      const dispatch = session.dispatch(input);
      text += encodeJson(dispatch.kind === 'reply' ? dispatch.message : dispatch.success({}));
    }
  }
  return text;
}

t.test('a session answers a stream alike in one piece, in any pieces, and byte by byte', async () => {
  fc.assert(
    fc.property(stream, cuts, (text, at) => {
      const whole = answers([text]);
      return answers(cut(text, at)) === whole && answers([...text]) === whole;
    }),
    { numRuns: 300 },
  );
});

async function withDaemon<T>(run: (path: string, pid: () => number) => Promise<T>): Promise<T> {
  const stage = new Stage();
  try {
    await stage.open({ name: 'any bytes', qemu_args: NONE, steps: [] });
    const server = stage.server('main');
    return await run(server.socketPath, () => server.pid);
  } finally {
    await stage.close();
  }
}

/** Sends the pieces one write each and half-closes; everything that comes. */
async function exchange(path: string, chunks: readonly string[]): Promise<string> {
  const peer = await Peer.open(path);
  for (const chunk of chunks) {
    peer.send(chunk);
    await turn();
  }
  const text = await peer.finish();
  if (!peer.ended) throw new Error(`the daemon does not end the connection after ${JSON.stringify(chunks)}`);
  return text;
}

t.test('a daemon answers a stream alike in one write and in many, and goes on', async () => {
  await withDaemon(async (path) => {
    await fc.assert(
      fc.asyncProperty(stream, cuts, async (text, at) => {
        // Out of band, replies may overtake each other: all are there in any case.
        const sorted = (all: string) => all.split('\r\n').sort().join('\r\n');
        return sorted(await exchange(path, [text])) === sorted(await exchange(path, cut(text, at)));
      }),
      { numRuns: 60 },
    );
  });
});

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;
}

const MIB = 1 << 20;

t.test('a flood of commands, of errors, and values without an end are bounded in memory', async (t) => {
  await withDaemon(async (path, pid) => {
    const other = await Peer.negotiated(path);
    const before = residentMiB(pid());
    const floods = {
      'commands whose replies nobody reads': '{"execute":"query-commands"}'.repeat(40_000),
      'errors whose replies nobody reads': '}'.repeat(2 * MIB),
      'an object without an end': `{"a":${'[1,'.repeat(1000)}${'1,'.repeat(600_000)}`,
      'a string without an end': `"${'x'.repeat(24 * MIB)}`,
    };
    for (const [what, text] of Object.entries(floods)) {
      const flood = await Peer.open(path, { paused: true });
      flood.send(`{"execute":"qmp_capabilities"}${text}`);
      let worst = 0;
      for (let i = 0; i < 20; i++) {
        const from = performance.now();
        other.send('{"execute":"query-name"}');
        t.equal(await other.lines(1), '{"return": {}}\r\n');
        worst = Math.max(worst, performance.now() - from);
      }
      t.ok(worst < 250, `${what}: another client waits ${worst.toFixed(0)} ms at most`);
      const grown = residentMiB(pid()) - before;
      t.ok(grown < 200, `${what}: ${grown.toFixed(0)} MiB more`);
      flood.destroy();
    }
    t.equal(await other.finish(), '');
  });
});
