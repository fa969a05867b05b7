import fc from 'fast-check';
import t from 'tap';
import { JsonReader } from '../../protocol/json_reader.js';
import { encodeJson } from '../../protocol/json_writer.js';
import { commandFromSchema, eventMessage, findCommand } from '../../protocol/qmp_commands.js';
import { QmpSession } from '../../protocol/qmp_dispatch.js';
import { genericError } from '../../protocol/qmp_errors.js';

const urgent = commandFromSchema({
  title: 'urgent',
  description: 'May be executed out of band.',
  arguments: { type: 'object', additionalProperties: false },
  'x-allow-oob': true,
});

function session(negotiation?: string) {
  const reader = new JsonReader();
  const pure = new QmpSession((name) => (name === 'urgent' ? urgent : findCommand(name)));
  const say = (text: string): string[] =>
    reader.feed(Buffer.from(text)).map((input) => {
      const dispatch = pure.dispatch(input);
      return dispatch.kind === 'reply' ? encodeJson(dispatch.message) : `run ${dispatch.command.name}`;
    });
  if (negotiation) say(negotiation);
  return { pure, say, input: (text: string) => reader.feed(Buffer.from(text))[0] as ReturnType<JsonReader['feed']>[0] };
}

const NEGOTIATE = '{"execute":"qmp_capabilities"}';
const WITH_OOB = '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}';
const generic = (desc: string) => `{"error": {"class": "GenericError", "desc": "${desc}"}}`;
const notFound = (desc: string) => `{"error": {"class": "CommandNotFound", "desc": "${desc}"}}`;

t.test('nothing but qmp_capabilities is found until negotiation is complete', async (t) => {
  const { pure, say } = session();
  const expecting = notFound("Expecting capabilities negotiation with 'qmp_capabilities'");
  t.same(say('{"execute":"stop"}{"execute":"nope"}{"execute":"stop","arguments":{"x":1}}'), [
    expecting,
    expecting,
    expecting,
  ]);
  t.same(say('{"execute":"qmp_capabilities","arguments":{"enable":["x"]}}'), [
    generic("Parameter 'null' does not accept value 'x'"),
  ]);
  t.notOk(pure.negotiated);
  t.same(say(NEGOTIATE), ['{"return": {}}']);
  t.ok(pure.negotiated);
  t.notOk(pure.oob);
  t.same(say(NEGOTIATE), [notFound('Capabilities negotiation is already complete, command ignored')]);
  t.same(say('{"execute":"stop"}'), ['run stop']);
});

t.test('checks are made in the order of QEMU, members in hash order', async (t) => {
  const { say } = session(NEGOTIATE);
  const cases: Array<[string, string]> = [
    ['[]', generic('QMP input must be a JSON object')],
    ['{}', generic("QMP input lacks member 'execute'")],
    ['{"foo":1,"execute":1}', generic("QMP input member 'execute' must be a string")],
    ['{"execute":"stop","foo":1,"bar":2}', generic("QMP input member 'bar' is unexpected")],
    ['{"execute":"stop","arguments":[]}', generic("QMP input member 'arguments' must be an object")],
    ['{"execute":"stop","arguments":null}', generic("QMP input member 'arguments' must be an object")],
    ['{"execute":"nope","arguments":{"x":1}}', notFound('The command nope has not been found')],
    ['{"execute":"constructor"}', notFound('The command constructor has not been found')],
    ['{"exec-oob":"urgent"}', generic("QMP input member 'exec-oob' is unexpected")],
    ['{"execute":"stop","arguments":{"x":1}}', generic("Parameter 'x' is unexpected")],
  ];
  for (const [input, reply] of cases) t.same(say(input), [reply], input);
});

t.test('the id is echoed whenever the input was an object', async (t) => {
  const { say, pure, input } = session(NEGOTIATE);
  t.same(say('{"execute":"nope","id":{"k":[1,null]}}'), [
    '{"id": {"k": [1, null]}, "error": {"class": "CommandNotFound", "desc": "The command nope has not been found"}}',
  ]);
  t.same(say('{"id":null}'), [
    '{"id": null, "error": {"class": "GenericError", "desc": "QMP input lacks member \'execute\'"}}',
  ]);
  const dispatch = pure.dispatch(input('{"execute":"stop","id":7}'));
  if (dispatch.kind !== 'run') throw new Error('not run');
  t.equal(encodeJson(dispatch.success(undefined)), '{"return": {}, "id": 7}');
  t.equal(
    encodeJson(dispatch.failure(genericError('no'))),
    '{"id": 7, "error": {"class": "GenericError", "desc": "no"}}',
  );
});

t.test('out-of-band execution is for those who enabled it, of commands that allow it', async (t) => {
  const { say, pure, input } = session(WITH_OOB);
  t.same(say('{"exec-oob":"urgent"}{"exec-oob":"stop"}{"exec-oob":"stop","execute":"stop"}'), [
    'run urgent',
    generic('The command stop does not support OOB'),
    generic("QMP input member 'execute' clashes with 'exec-oob'"),
  ]);
  t.ok(pure.isOutOfBand(input('{"exec-oob":"urgent"}')));
  t.notOk(pure.isOutOfBand(input('{"execute":"urgent"}')));
  t.notOk(session(NEGOTIATE).pure.isOutOfBand(input('{"exec-oob":"urgent"}')));
});

t.test(
  'returns and events are put into schema order, and what the schema lacks is a fault of the program',
  async (t) => {
    const version = findCommand('query-version')?.returned({ package: 'p', qemu: { micro: 3, major: 1, minor: 2 } });
    t.equal(encodeJson(version), '{"qemu": {"micro": 3, "minor": 2, "major": 1}, "package": "p"}');
    t.throws(() => findCommand('query-status')?.returned({ running: true }), /lacks its member 'singlestep'/);
    t.throws(() => findCommand('query-name')?.returned({ nom: 'x' }), /has a member 'nom'/);
    const event = eventMessage('SHUTDOWN', { reason: 'host-qmp-quit', guest: false }, 1_700_000_000_123_456);
    t.equal(
      encodeJson(event),
      '{"timestamp": {"seconds": 1700000000, "microseconds": 123456}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}',
    );
    t.equal(
      encodeJson(eventMessage('STOP', undefined, 0)),
      '{"timestamp": {"seconds": 0, "microseconds": 0}, "event": "STOP"}',
    );
  },
);

t.test('any input has exactly one answer', async () => {
  const member = fc.constantFrom('execute', 'exec-oob', 'arguments', 'id', 'foo', '__proto__');
  const value = fc.oneof(fc.constantFrom('stop', 'qmp_capabilities', 'migrate', 'toString'), fc.jsonValue());
  const request = fc.oneof(fc.dictionary(member, value), fc.jsonValue());
  fc.assert(
    fc.property(fc.array(request, { maxLength: 8 }), (requests) => {
      const { say } = session();
      return requests.every((each) => say(`${JSON.stringify(each)} `).length === 1);
    }),
  );
});

t.test('any bytes, cut in any way, are answered the same and never throw', async () => {
  const fragment = fc.oneof(
    fc.constantFrom(
      NEGOTIATE,
      WITH_OOB,
      '{"execute":"stop","id":',
      '{"exec-oob":"urgent"}',
      '{"execute":"migrate"}',
      '}',
    ),
    fc.constantFrom(
      '[',
      ']',
      ',',
      '"',
      "'",
      '\n',
      '\xff',
      '\\u0000',
      '1',
      'null',
      '{"id":{"2":0,"1":0},"arguments":{}}',
    ),
    fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  );
  const stream = fc.array(fragment, { maxLength: 20 }).map((parts) => Buffer.from(parts.join(''), 'latin1'));
  const answers = (chunks: Uint8Array[]): string => {
    const reader = new JsonReader();
    const pure = new QmpSession((name) => (name === 'urgent' ? urgent : findCommand(name)));
    const lines = chunks.flatMap((chunk) =>
      reader.feed(chunk).map((input) => {
        const dispatch = pure.dispatch(input);
        return dispatch.kind === 'reply' ? encodeJson(dispatch.message) : encodeJson(dispatch.success(undefined));
      }),
    );
    return lines.join('\r\n');
  };
  fc.assert(
    fc.property(stream, fc.array(fc.nat(300), { maxLength: 10 }), (bytes, cuts) => {
      const edges = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
      const chunks = edges.map((edge, i) => bytes.subarray(i > 0 ? edges[i - 1] : 0, edge));
      return answers(chunks) === answers([bytes]);
    }),
    { numRuns: 1000 },
  );
});
