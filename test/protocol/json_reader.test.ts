import fc from 'fast-check';
import t from 'tap';
import { JsonReader, type JsonResult } from '../../protocol/json_reader.js';
import { encodeJson } from '../../protocol/json_writer.js';
import { isValidCodepoint } from '../../protocol/modified_utf8.js';

/** Input and results as latin-1 text: a value as it would be echoed, an error with an exclamation mark. */
function read(...chunks: string[]): string[] {
  const reader = new JsonReader();
  return chunks.flatMap((chunk) => reader.feed(Buffer.from(chunk, 'latin1'))).map(show);
}

function show(result: JsonResult): string {
  return 'error' in result ? `!${result.error.replace('JSON parse error, ', '')}` : encodeJson(result.value);
}

t.test('values need no separator, numbers and words need one more byte', async (t) => {
  t.same(read('{}[]"a"{"b":1}'), ['{}', '[]', '"a"', '{"b": 1}']);
  t.same(read('123'), []);
  t.same(read('123', ' '), ['123']);
  t.same(read('true', '\n', 'null,'), ['true', 'null', '!expecting value']);
  t.same(read(' \t\r\n'), []);
});

t.test('integers are exact to 64 bits, wider ones and fractions are doubles', async (t) => {
  t.same(read('18446744073709551615 9223372036853727232 -9223372036854775808 -0 '), [
    '18446744073709551615',
    '9223372036853727232',
    '-9223372036854775808',
    '0',
  ]);
  t.same(read('18446744073709551616 -9223372036854775809 0.1 1e999 1.50 -0.0 '), [
    '1.8446744073709552e+19',
    '-9.2233720368547758e+18',
    '0.10000000000000001',
    'inf',
    '1.5',
    '-0',
  ]);
  const [whole, fraction] = new JsonReader().feed(Buffer.from('300 300.0 '));
  t.same(whole, { value: 300n });
  t.same(fraction, { value: 300 });
});

t.test('an integer of any length is read in linear time', async (t) => {
  t.same(read(`${'9'.repeat(1 << 20)} `), ['inf']);
});

t.test('single quotes and the escaped apostrophe are accepted', async (t) => {
  t.same(read(`{'a':'b"c'} 'it\\'s' "it\\'s"`), ['{"a": "b\\"c"}', '"it\'s"', '"it\'s"']);
});

t.test('syntax errors are named in the words of QEMU', async (t) => {
  const cases: Array<[string, ...string[]]> = [
    ['foo ', "!invalid keyword 'foo'"],
    ['{"a" 1}', '!missing : in object pair'],
    ['{1:2}', '!key is not a string in object'],
    ['{"a":1 "b"}', '!expected separator in dict'],
    ['[1 2]', '!expected separator in list'],
    ['[1}', '!expected separator in list'],
    ['{"a":1,}', '!expecting value'],
    ['[1,]', '!expecting value'],
    ['{"a":1,"a":2}', '!duplicate key'],
    ['"\\q"', '!invalid escape sequence in string'],
    ['"\\ud834x"', '!\\ud834 is not a valid Unicode character'],
    ['"\\u12"', '!\\u12" is not a valid Unicode character'],
    ['"\\ud834\\u0041"', '!\\ud834 is not a valid Unicode character'],
    ['"\\ufdd0"', '!\\ufdd0 is not a valid Unicode character'],
    ['"\xed\xa0\xb4"', '!invalid UTF-8 sequence in string'],
    ['"\xc1\x80"', '!invalid UTF-8 sequence in string'],
    ['"\xfc\x84\x80\x80\x80\x80"', '!invalid UTF-8 sequence in string'],
    ['}', '!expecting value'],
    ['{"a":[}'],
    ['0123 ', "!stray '01'"],
    ['1.}', "!stray '1.}'", ''],
  ];
  for (const [input, ...results] of cases) t.same(read(input), results.filter(Boolean), JSON.stringify(input));
});

t.test('a keyword is quoted only as far as QEMU has room for the message', async (t) => {
  const [error] = read(`${'x'.repeat(5000)} `);
  t.equal(error, `!invalid keyword '${'x'.repeat(1006)}`);
});

t.test('NUL may be written as C0 80 and as an escape, and is an error when raw', async (t) => {
  t.same(read('"\xc0\x80"', '"\\u0000"'), ['"\\u0000"', '"\\u0000"']);
  t.same(read('"a\0b"\n'), ["!stray '\"a'"]);
});

t.test('after a lexical error input is dropped up to a structural or control character', async (t) => {
  t.same(read('// c\n{}'), ["!stray '/'", '{}']);
  t.same(read('{"a":+1}\n{}'), ["!stray '+'", '!expecting value', '{}']);
  t.same(read('"never closed', '\xff\n{}'), ["!stray '\"never closed\ufffd'", '{}']);
  t.same(read('\x1b[A\n'), ["!stray '\x1b'", "!stray 'A'"]);
  t.same(read('@ \t @ foo [] '), ["!stray '@'", '[]']);
});

t.test('the end of input drops what is incomplete, and the next input starts afresh', async (t) => {
  const reader = new JsonReader();
  t.same(reader.feed(Buffer.from('{"a":[1,"b')), []);
  reader.end();
  t.same(reader.feed(Buffer.from('{}')).map(show), ['{}']);
});

t.test('nesting is limited to 1024, and each leftover closer is an error', async (t) => {
  t.same(read(`${'['.repeat(1024)}${']'.repeat(1024)}`), [`${'['.repeat(1024)}${']'.repeat(1024)}`]);
  t.same(read(`${'['.repeat(1025)}]]`), ['!JSON nesting depth limit exceeded', '!expecting value', '!expecting value']);
});

t.test('tokens are limited to 2097152 in a value', async (t) => {
  const input = `[${'1,'.repeat(1048575)}1,1 ]`;
  t.same(read(input), ['!JSON token count limit exceeded', '1', '!expecting value']);
});

t.test('token text is limited, in one token and in all tokens of a value', async (t) => {
  const small = { bytes: 16, tokens: 100, depth: 10 };
  const results = (text: string) => new JsonReader(small).feed(Buffer.from(text)).map(show);
  t.same(results('"1234567890123"'), ['"1234567890123"']);
  t.same(results('"12345678901234567'), ['!JSON token size limit exceeded']);
  t.same(results('["123456", "123456",'), ['!JSON token size limit exceeded', '!expecting value']);
});

t.test('names that JavaScript would reorder, and __proto__, are members like any other', async (t) => {
  const [result] = new JsonReader().feed(Buffer.from('{"__proto__":{"x":1},"constructor":2,"2":1,"1":0}'));
  const value = (result as { value: { [name: string]: unknown } }).value;
  t.same(Object.keys(value).sort(), ['1', '2', '__proto__', 'constructor']);
  t.equal(({} as { x?: number }).x, undefined);
});

/** Bytes that are likely to matter, mixed with any. */
const fragment = fc.oneof(
  fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    "'",
    '\\',
    '\\u',
    'd834',
    '\\ud834\\udd1e',
    '0',
    '-',
    '1.',
    'e5',
    ' ',
  ),
  fc.constantFrom(
    'true',
    '{"execute":"stop"}',
    '{"a":[1,{}]}',
    '\n',
    '\xff',
    '\xfe',
    '\0',
    '\xc0\x80',
    '\xf0\x9d\x84\x9e',
  ),
  fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);
const stream = fc.array(fragment, { maxLength: 40 }).map((parts) => Buffer.from(parts.join(''), 'latin1'));

t.test('any bytes, cut in any way, give the same results and never throw', async () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(200), { maxLength: 12 }), (bytes, cuts) => {
      const whole = new JsonReader().feed(bytes).map(show);
      const reader = new JsonReader();
      const edges = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const pieces = edges.slice(1).flatMap((edge, i) => reader.feed(bytes.subarray(edges[i], edge)).map(show));
      const single = new JsonReader();
      const bytewise = [...bytes].flatMap((byte) => single.feed(Uint8Array.of(byte)).map(show));
      return JSON.stringify(whole) === JSON.stringify(pieces) && JSON.stringify(whole) === JSON.stringify(bytewise);
    }),
    { numRuns: 2000 },
  );
});

/** A text that shows a value with its members sorted: their order on the wire is not kept where hash buckets collide. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each === 'bigint') return `${each}n`;
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return each;
    return Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1));
  });
}

t.test('what the writer writes the reader reads back', async () => {
  const text = fc
    .string({ unit: 'binary', maxLength: 8 })
    .filter((each) => [...each].every((c) => isValidCodepoint(c.codePointAt(0) as number)));
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.double({ noNaN: true, noDefaultInfinity: true }).filter((each) => !Number.isInteger(each)),
      text,
      fc.array(tie('value'), { maxLength: 5 }),
      fc.dictionary(text, tie('value'), { maxKeys: 5 }),
    ),
  })).value;
  fc.assert(
    fc.property(json, fc.boolean(), (value, pretty) => {
      const [result] = new JsonReader().feed(Buffer.from(`${encodeJson(value, { pretty })} `));
      return result !== undefined && 'value' in result && canonical(result.value) === canonical(value);
    }),
    { numRuns: 1000 },
  );
});
