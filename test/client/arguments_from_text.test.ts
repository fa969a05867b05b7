import t from 'tap';
import { argumentsFromText } from '../../client/arguments_from_text.js';
import { valueFromText } from '../../client/value_from_text.js';
import type { SchemaNode } from '../../schemas/generated/qmp.js';

t.test('a named argument is read as its schema says', async (t) => {
  t.same(argumentsFromText('migrate', ['uri=tcp:a:1', 'detach=on', 'max-buffer-bytes=16M']), {
    uri: 'tcp:a:1',
    detach: true,
    'max-buffer-bytes': 16777216n,
  });
  t.same(argumentsFromText('migrate-set-parameters', ['max-bandwidth=18446744073709551615']), {
    'max-bandwidth': 18446744073709551615n,
  });
  t.same(argumentsFromText('migrate-set-capabilities', ['capabilities=[{"capability":"events","state":true}]']), {
    capabilities: [{ capability: 'events', state: true }],
  });
});

t.test('a word without a name is the next required argument; a JSON object is all arguments', async (t) => {
  t.same(argumentsFromText('migrate', ['tcp:a:1', 'detach=off']), { uri: 'tcp:a:1', detach: false });
  t.same(argumentsFromText('migrate', ['exec:cat > a=b']), { uri: 'exec:cat > a=b' });
  t.same(argumentsFromText('migrate', ['{"uri": "x", "n": 18446744073709551615}']), {
    uri: 'x',
    n: 18446744073709551615n,
  });
  t.throws(() => argumentsFromText('migrate', ['uri=a', 'b']), /'b' is not of the form NAME=VALUE/);
  t.throws(() => argumentsFromText('unknown', ['b']), /'b' is not of the form NAME=VALUE/);
  t.throws(() => argumentsFromText('migrate', ['{"uri": ']), /is not a JSON object: it is not complete/);
  t.throws(() => argumentsFromText('migrate', ['{} {}']), /is not a JSON object: something follows it/);
});

t.test('parts of objects and lists have paths', async (t) => {
  const words = ['capabilities.0.capability=events', 'capabilities.0.state=on', 'capabilities.1.capability=x'];
  t.same(argumentsFromText('migrate-set-capabilities', words), {
    capabilities: [{ capability: 'events', state: true }, { capability: 'x' }],
  });
  t.same(argumentsFromText('unknown', ['a.b.c=1', 'a.d=x', 'l.0=1', 'l.1.m=true']), {
    a: { b: { c: 1 }, d: 'x' },
    l: [1, { m: true }],
  });
  const refused: [string[], RegExp][] = [
    [['a=1', 'a.b=2'], /'a\.b' is a part of 'a', which has a value already/],
    [['a.b=1', 'a.b=2'], /'a\.b' is given twice/],
    [['a.b=1', 'a={}'], /'a' is given twice/],
    [['l.0=1', 'l.2=1'], /'l\.2' skips the item before it/],
    [['l.0=1', 'l.x=1'], /'l\.x' must have an index in place of 'x'/],
  ];
  for (const [bad, message] of refused) t.throws(() => argumentsFromText('unknown', bad), message);
  t.same(Object.keys(argumentsFromText('unknown', ['__proto__.x=1'])), ['__proto__'], 'a member like any other');
});

t.test('values that do not fit are refused by name before anything is sent', async (t) => {
  t.throws(() => argumentsFromText('migrate', ['uri=a', 'uri=b']), /'uri' is given twice/);
  t.throws(() => argumentsFromText('migrate', ['detach=maybe']), /'detach' must be true or false, not 'maybe'/);
  t.throws(() => argumentsFromText('set-mplm-migration', ['dirtypercents=1.5']), /'dirtypercents' must be an integer/);
  t.throws(() => argumentsFromText('migrate-set-capabilities', ['capabilities=x']), /must be a JSON array, not 'x'/);
  t.throws(
    () => argumentsFromText('migrate-set-capabilities', ['capabilities=[x']),
    /must be JSON \(array\), not '\[x'/,
  );
});

t.test('each kind of value has its form; without a schema it is JSON or a string', async (t) => {
  const read = (node: SchemaNode | undefined, text: string) => valueFromText(node, 'n', text);
  const string: SchemaNode = { type: 'string' };
  const integer: SchemaNode = { type: 'integer', 'x-qapi': 'int' };
  t.equal(read(integer, '0x1000'), 4096n);
  t.equal(read(integer, '-2k'), -2048n);
  t.equal(read(string, '12'), '12');
  t.same(read({ type: 'array', items: integer }, '1,2,3K'), [1n, 2n, 3072n]);
  t.same(read({ type: 'array', items: string }, ''), []);
  t.equal(read({ type: 'number' }, '1.5'), 1.5);
  t.throws(() => read({ type: 'number' }, 'x'), /'n' must be a number/);
  const stringOrNull: SchemaNode = { anyOf: [string, { type: 'null' }] };
  t.equal(read(stringOrNull, 'null'), null);
  t.equal(read(stringOrNull, 'text'), 'text');
  t.throws(() => read({ anyOf: [integer, { type: 'null' }] }, 'x'), /'n' must be JSON \(null\)/);
  t.same(read(undefined, '{"a": [1, 18446744073709551615]}'), { a: [1, 18446744073709551615n] });
  t.equal(read({ 'x-qapi': 'any' }, 'tcp:x'), 'tcp:x');
});
