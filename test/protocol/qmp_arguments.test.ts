import fc from 'fast-check';
import t from 'tap';
import { JsonReader } from '../../protocol/json_reader.js';
import type { JsonObject } from '../../protocol/json_value.js';
import { argumentReader } from '../../protocol/qmp_arguments.js';
import { findCommand } from '../../protocol/qmp_commands.js';
import { QmpError } from '../../protocol/qmp_errors.js';
import { COMMANDS, type CommandName, type SchemaNode } from '../../schemas/generated/qmp.js';

function parse(text: string): JsonObject {
  const [result] = new JsonReader().feed(Buffer.from(text));
  return (result as { value: JsonObject }).value;
}

/** The refusal's text, or the arguments a handler gets. */
function attempt(read: (args: JsonObject) => unknown, text: string): unknown {
  try {
    return read(parse(text));
  } catch (error) {
    if (!(error instanceof QmpError) || error.class !== 'GenericError') throw error;
    return error.desc;
  }
}

const command = (name: CommandName) => (text: string) =>
  attempt((args) => findCommand(name)?.readArguments(args), text);

/** Reads one argument `x` of the kind that the node describes. */
const argument = (node: SchemaNode) => {
  const properties = { x: node };
  const read = argumentReader({ type: 'object', additionalProperties: false, properties, required: ['x'] });
  return (text: string) => attempt(read, `{"x":${text}}`);
};

t.test('refusals are those of QEMU 7.2', async (t) => {
  const capabilities = command('migrate-set-capabilities');
  const list = (item: string) => capabilities(`{"capabilities":[{"capability":"events","state":true},${item}]}`);
  t.equal(capabilities('{}'), "Parameter 'capabilities' is missing");
  t.equal(capabilities('{"capabilities":{}}'), "Invalid parameter type for 'capabilities', expected: array");
  t.equal(list('1'), "Invalid parameter type for 'capabilities[1]', expected: object");
  t.equal(list('{"capability":"events"}'), "Parameter 'capabilities[1].state' is missing");
  t.equal(list('{"capability":"events","state":true,"x":1}'), "Parameter 'capabilities[1].x' is unexpected");
  t.equal(list('{"capability":"nope","state":true}'), "Parameter 'capability' does not accept value 'nope'");
  t.equal(
    list('{"capability":7,"state":true}'),
    "Invalid parameter type for 'capabilities[1].capability', expected: string",
  );
  t.equal(command('qmp_capabilities')('{"enable":["bogus"]}'), "Parameter 'null' does not accept value 'bogus'");
  t.equal(command('migrate')('{"uri":null}'), "Invalid parameter type for 'uri', expected: string");
  t.equal(command('migrate')('{"uri":"x","detach":1}'), "Invalid parameter type for 'detach', expected: boolean");
  t.equal(command('query-status')('{"__proto__":1}'), "Parameter '__proto__' is unexpected");
});

t.test('of several unexpected members, the one that QEMU’s hash table has first is told', (t) => {
  const status = (...names: string[]) =>
    command('query-status')(JSON.stringify(Object.fromEntries(names.map((name) => [name, 1]))));
  t.equal(status('foo', 'b', 'bar'), "Parameter 'b' is unexpected");
  t.equal(status('q', 'zzz'), "Parameter 'zzz' is unexpected");
  t.equal(status('uri', 'zzz', 'foo-bar', 'x', 'guest'), "Parameter 'guest' is unexpected");
  const yank = (members: object) => command('yank')(JSON.stringify({ instances: [members] }));
  t.equal(yank({ a: 1, type: 'migration', b: 1 }), "Parameter 'instances[0].b' is unexpected");
  t.equal(yank({ type: 'migration', extra: 1, z: 1, q: 1 }), "Parameter 'instances[0].z' is unexpected");
  t.end();
});

t.test('the first offence counts: members in schema order, unexpected ones last, ranges after all', async (t) => {
  const mplm = command('set-mplm-migration');
  t.equal(mplm('{"foo":1,"dirtypercents":0}'), "Parameter 'enable' is missing");
  t.equal(
    mplm('{"foo":1,"dirtypercents":"x","enable":true}'),
    "Invalid parameter type for 'dirtypercents', expected: integer",
  );
  t.equal(mplm('{"foo":1,"dirtypercents":0,"enable":true}'), "Parameter 'foo' is unexpected");
  t.equal(
    mplm('{"dirtypercents":0,"intervaltime":0,"enable":true}'),
    "Parameter 'intervaltime' expects a value between 1 and 86400",
  );
});

t.test('the policy refuses what would make a migration hang or spin', async (t) => {
  const mplm = command('set-mplm-migration');
  for (const value of [0, 100, 150, -5]) {
    t.equal(
      mplm(`{"enable":true,"dirtypercents":${value}}`),
      "Parameter 'dirtypercents' expects a value between 1 and 99",
    );
  }
  for (const value of ['0', '-1', '86401', '1099511627776', '9223372036854775807']) {
    t.equal(
      mplm(`{"enable":true,"intervaltime":${value}}`),
      "Parameter 'intervaltime' expects a value between 1 and 86400",
    );
  }
  t.equal(mplm('{"enable":true,"intervaltime":3.0}'), "Invalid parameter type for 'intervaltime', expected: integer");
  t.same(mplm('{"enable":true,"intervaltime":1,"dirtypercents":99}'), {
    enable: true,
    intervaltime: 1,
    dirtypercents: 99,
  });
});

t.test('64-bit arguments are exact bigints, a negative one wraps, bounded ones are numbers', async (t) => {
  const set = command('migrate-set-parameters');
  t.same(set('{"max-bandwidth":9223372036853727232}'), { 'max-bandwidth': 9223372036853727232n });
  t.same(set('{"max-bandwidth":-1}'), { 'max-bandwidth': 18446744073709551615n });
  const bounded = argument({ type: 'integer', 'x-qapi': 'uint64', minimum: 0, maximum: 2000000 });
  t.same(bounded('2000000'), { x: 2000000 });
  const range = "Parameter 'x' expects a value between 0 and 2000000";
  for (const text of ['2000001', '18446744073709551615', '-1']) t.equal(bounded(text), range);
  t.equal(set('{"downtime-limit":300.0}'), "Parameter 'downtime-limit' expects uint64");
  t.equal(set('{"max-bandwidth":"1"}'), "Parameter 'max-bandwidth' expects uint64");
  t.equal(set('{"max-bandwidth":18446744073709551616}'), "Parameter 'max-bandwidth' expects uint64");
});

t.test('each integer kind has its refusals', async (t) => {
  const kind = (name: string, text: string) => {
    const node: SchemaNode = { type: 'integer', 'x-qapi': name };
    const schema: SchemaNode = { type: 'object', additionalProperties: false, properties: { x: node } };
    return attempt(argumentReader(schema), `{"x":${text}}`);
  };
  t.equal(kind('uint8', '-1'), "Parameter 'x' expects uint8_t");
  t.equal(kind('uint8', '256'), "Parameter 'x' expects uint8_t");
  t.equal(kind('uint8', 'true'), "Parameter 'x' expects uint64");
  t.same(kind('uint8', '255'), { x: 255 });
  t.equal(kind('int32', '2147483648'), "Parameter 'x' expects int32_t");
  t.equal(kind('int32', '1.5'), "Invalid parameter type for 'x', expected: integer");
  t.same(kind('int32', '-2147483648'), { x: -2147483648 });
  t.equal(kind('int', '9223372036854775808'), "Invalid parameter type for 'x', expected: integer");
  t.same(kind('int', '-9223372036854775808'), { x: -(2n ** 63n) });
});

const list = (items: SchemaNode): SchemaNode => ({ type: 'array', items });

t.test('an alternate takes what one of its branches takes, and is told by its type where none does', async (t) => {
  const alternate = argument({ $ref: '../types/StrOrNull.json' });
  t.same(alternate('"creds"'), { x: 'creds' });
  t.same(alternate('null'), { x: null });
  for (const text of ['5', '{"a":1}', '[]', 'true']) {
    t.equal(alternate(text), "Invalid parameter type for 'x', expected: StrOrNull");
  }
  const alternates = argument(list({ $ref: '../types/StrOrNull.json' }));
  t.equal(alternates('[null,5]'), "Invalid parameter type for 'null', expected: StrOrNull", 'an item has no name');
});

t.test('a flat union has the members that its discriminator chooses', async (t) => {
  const union = argument(list({ $ref: '../types/SocketAddress.json' }));
  t.same(union('[{"type":"unix","path":"/p"},{"type":"inet","host":"h","port":"1","to":65535}]'), {
    x: [
      { type: 'unix', path: '/p' },
      { type: 'inet', host: 'h', port: '1', to: 65535 },
    ],
  });
  t.equal(union('[{}]'), "Parameter 'x[0].type' is missing");
  t.equal(union('[{"type":"zz","path":"/p"}]'), "Parameter 'type' does not accept value 'zz'");
  t.equal(union('[{"type":7}]'), "Invalid parameter type for 'x[0].type', expected: string");
  t.equal(union('[{"type":"inet","host":"h","foo":1}]'), "Parameter 'x[0].port' is missing");
  t.equal(union('[{"type":"unix","path":1}]'), "Invalid parameter type for 'x[0].path', expected: string");
  t.equal(union('[{"type":"unix","path":"/p","host":"h"}]'), "Parameter 'x[0].host' is unexpected");
  t.equal(union('[{"type":"inet","host":"h","port":"1","to":65536}]'), "Parameter 'to' expects uint16_t");
  t.equal(union('[{"type":"fd","str":"7","to":1}]'), "Parameter 'x[0].to' is unexpected");
});

t.test('any value is handed on as it is, and null can be asked for', async (t) => {
  const any = argument({ 'x-qapi': 'any' });
  t.same(any('null'), { x: null });
  t.same(any('[1,{"a":2.0}]'), { x: [1n, { a: 2 }] });
  t.same(argument({ type: 'null' })('null'), { x: null });
  t.equal(argument({ type: 'null' })('1'), "Invalid parameter type for 'x', expected: null");
});

t.test('arguments of any form are read or refused in one sentence, never anything else', async () => {
  const names = Object.keys(COMMANDS) as CommandName[];
  const known = [...new Set(names.flatMap((name) => Object.keys(COMMANDS[name].arguments.properties ?? {})))];
  const value = fc.jsonValue({ maxDepth: 3 });
  const args = fc.dictionary(fc.oneof(fc.constantFrom(...known), fc.string()), value, { maxKeys: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...names), args, (name, candidate) => {
      const outcome = command(name)(JSON.stringify(candidate));
      return typeof outcome === 'object' || /^(Parameter|Invalid parameter type)/.test(String(outcome));
    }),
    { numRuns: 1000 },
  );
});

t.test('a hostile list costs no more than its first fault', async (t) => {
  const items = Array.from({ length: 200_000 }, () => '1').join(',');
  const started = performance.now();
  const text = command('migrate-set-capabilities')(`{"capabilities":[${items}]}`);
  t.equal(text, "Invalid parameter type for 'capabilities[0]', expected: object");
  t.ok(performance.now() - started < 2000);
});
