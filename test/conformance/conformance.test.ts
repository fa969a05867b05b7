/** The runner of transcripts, and what it plays. That vmhostd answers as QEMU did is `npm run test:conformance`. */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { noKvm } from '../helpers/daemons.js';
import { batches } from './batches.js';
import { NONE } from './cases/machines.js';
import { explicit } from './hints.js';
import { mask, withoutOwnMembers } from './mask.js';
import { NotHereList } from './not_here.js';
import { type Outcome, playTogether } from './play_transcript.js';
import { loadTranscripts, type Step, type Transcript } from './transcript.js';

const file = (name: string) =>
  fileURLToPath(new URL(`../../../test/conformance/qemu-7.2/${name}.jsonl`, import.meta.url));
const NAME = '{"execute":"query-name"}\n';

function transcript(steps: readonly Step[], more: Partial<Transcript> = {}): Transcript {
  return { name: 'made', negotiated: true, qemu_args: NONE, steps, ...more };
}

async function play(one: Transcript): Promise<Outcome> {
  const [outcome] = await playTogether([explicit(one)], { patienceMs: 1000 });
  return outcome as Outcome;
}

function judged(outcome: Outcome, list = new NotHereList([])) {
  return list.judge(outcome).result;
}

t.test('a transcript is ok only if every byte is as expected, the end and the exit code included', async (t) => {
  const quit = '{"execute":"quit"}\n';
  const gone =
    '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}\r\n{"return": {}}\r\n';
  const good = transcript(
    [
      { send: NAME, recv: '{"return": {}}\r\n' },
      { send: quit, recv: gone },
    ],
    { closed: 'EOF', qemu_exit: 0 },
  );
  t.equal(judged(await play(good)), 'ok');
  t.equal(judged(await play({ ...good, qemu_exit: 1 })), 'not ok', 'another exit code');
  t.equal(judged(await play(transcript([{ send: NAME, recv: '{"return": []}\r\n' }]))), 'not ok', 'another reply');
  t.equal(judged(await play(transcript([{ send: NAME, recv: '{"return":{}}\r\n' }]))), 'not ok', 'a space too much');
  t.equal(
    judged(await play(transcript([{ send: NAME + NAME, recv: '{"return": {}}\r\n' }]))),
    'not ok',
    'a reply too many',
  );
  t.equal(
    judged(await play(transcript([{ send: NAME, recv: '{"return": {}}\r\n'.repeat(2) }]))),
    'not ok',
    'one too few',
  );
  t.equal(judged(await play(transcript([{ send: quit, recv: gone }]))), 'not ok', 'an end that was not expected');
});

t.test(
  'a difference is skipped only for what the list names, and the list tells what it is not needed for',
  async (t) => {
    const unknown = transcript([{ send: '{"execute":"eject"}\n', recv: '{"return": {}}\r\n' }]);
    const outcome = await play(unknown);
    const entry = { reason: 'no discs', commands: ['eject', 'blockdev-add'] };
    const list = new NotHereList([
      entry,
      { reason: 'x', sends: 'eject', answers: 'nothing like it' },
      { reason: 'y', name: 'other' },
    ]);
    t.equal(judged(outcome, list), 'skip');
    t.equal(list.faults().length, 3, 'the other command, the pattern, the name');
    t.equal(
      judged(await play({ ...unknown, name: 'other' }), new NotHereList([{ reason: 'y', name: 'other' }])),
      'skip',
    );
    const passing = new NotHereList([{ reason: 'y', name: 'made' }]);
    t.equal(judged(await play(transcript([{ send: NAME, recv: '{"return": {}}\r\n' }])), passing), 'ok');
    t.match(passing.faults()[0], /'made' is listed as not here, and passes/);
  },
);

t.test('what differs from run to run is masked, and nothing else', async (t) => {
  const event = '{"timestamp": {"seconds": 12, "microseconds": 34}, "event": "STOP"}\r\n';
  t.equal(mask(event), event.replace('12', '0').replace('34', '0'));
  t.equal(mask('{"ram": {"total": 5, "mbps": 1.5e+2}, "id": 7}'), '{"ram": {"total": 0, "mbps": 0}, "id": 7}');
  t.equal(
    mask('{"return": {"downtime-limit": 300, "size": 33554432}}'),
    '{"return": {"downtime-limit": 300, "size": 33554432}}',
  );
  t.equal(withoutOwnMembers('{"a": 1, "mplm": {"x": [{"y": "}"}], "z": 2}, "b": 3}'), '{"a": 1, "b": 3}');
  t.equal(withoutOwnMembers('{"mplm": {}, "b": 3}'), '{"b": 3}');
});

t.test('records that leave something behind have a server of their own', async (t) => {
  const made = loadTranscripts(file('sessions')).map(explicit);
  const portions = batches(made, () => true);
  t.equal(portions.flat().length, made.length);
  for (const portion of portions) {
    if (portion.some(({ closed }) => closed !== undefined)) t.equal(portion.length, 1, portion[0]?.name);
  }
});

t.test('the protocol is answered byte for byte as by QEMU 7.2', { skip: noKvm() }, async (t) => {
  for (const name of ['protocol', 'bytes']) {
    for (const batch of batches(loadTranscripts(file(name)).map(explicit), () => true)) {
      const outcomes = await playTogether(batch, { patienceMs: 5000 });
      const bad = outcomes.filter((outcome) => judged(outcome) !== 'ok').map((outcome) => outcome.transcript.name);
      t.same(bad, [], `${outcomes.length} of ${name}`);
    }
  }
});
