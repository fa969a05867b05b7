import t from 'tap';
import { jsonObject } from '../../protocol/json_value.js';
import { encodeJson, formatDouble, qdictBucket } from '../../protocol/json_writer.js';

t.test('members come in the order of QEMU, not of insertion', async (t) => {
  t.equal(encodeJson({ id: 1, return: {} }), '{"return": {}, "id": 1}');
  t.equal(encodeJson({ error: { desc: 'x', class: 'y' }, id: 1 }), '{"id": 1, "error": {"class": "y", "desc": "x"}}');
  t.equal(
    encodeJson({ data: {}, event: 'E', timestamp: { microseconds: 2, seconds: 1 } }),
    '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "E", "data": {}}',
  );
});

t.test('of members in one bucket the latest inserted comes first', async (t) => {
  t.equal(qdictBucket('minor'), qdictBucket('micro'));
  t.equal(encodeJson({ major: 7, minor: 2, micro: 22 }), '{"micro": 22, "minor": 2, "major": 7}');
  t.equal(encodeJson({ micro: 22, minor: 2, major: 7 }), '{"minor": 2, "micro": 22, "major": 7}');
});

t.test('insertion counts also for names that JavaScript treats as indices', async (t) => {
  const names = new Map<number, string>();
  let pair: [string, string] | undefined;
  for (let i = 0; !pair; i++) {
    const other = names.get(qdictBucket(String(i)));
    if (other) pair = [String(i), other];
    else names.set(qdictBucket(String(i)), String(i));
  }
  const [late, early] = pair as [string, string];
  const text = (a: string, b: string) => encodeJson(jsonObject([a, b].map((name) => [name, 0n] as const)));
  t.equal(text(late, early), `{"${early}": 0, "${late}": 0}`);
  t.equal(text(early, late), `{"${late}": 0, "${early}": 0}`);
});

t.test('only printable ASCII is written as it is', async (t) => {
  t.equal(
    encodeJson('é€𝄞\u007f\u0001"\\/\'\b\f\n\r\t'),
    '"\\u00E9\\u20AC\\uD834\\uDD1E\\u007F\\u0001\\"\\\\/\'\\b\\f\\n\\r\\t"',
  );
});

t.test('pretty output is indented by four and breaks the line in empty containers', async (t) => {
  t.equal(
    encodeJson({ return: {}, id: [1, []] }, { pretty: true }),
    '{\r\n    "return": {\r\n    },\r\n    "id": [\r\n        1,\r\n        [\r\n        ]\r\n    ]\r\n}',
  );
});

t.test('doubles are written as printf %.17g writes them', async (t) => {
  // Expected values are glibc's. The two with ties at the 18th digit round to even.
  const cases: Array<[number, string]> = [
    [0.1, '0.10000000000000001'],
    [1.5, '1.5'],
    [1e100, '1e+100'],
    [1e16, '10000000000000000'],
    [1e17, '1e+17'],
    [-2.5e-7, '-2.4999999999999999e-07'],
    [0.0001, '0.0001'],
    [0.00001, '1.0000000000000001e-05'],
    [5e-324, '4.9406564584124654e-324'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
    [12345678901 + 1 / 128, '12345678901.007812'],
    [12345678901 + 3 / 128, '12345678901.023438'],
    [9.999999999999999e22, '9.9999999999999992e+22'],
    [-0, '-0'],
    [Number.POSITIVE_INFINITY, 'inf'],
    [Number.NEGATIVE_INFINITY, '-inf'],
  ];
  for (const [value, text] of cases) t.equal(formatDouble(value), text);
});

t.test('integers are exact as number and as bigint, undefined members are left out', async (t) => {
  t.equal(encodeJson([2 ** 53 - 1, 2n ** 64n - 1n, -1]), '[9007199254740991, 18446744073709551615, -1]');
  t.equal(encodeJson({ a: undefined, b: null }), '{"b": null}');
  t.throws(() => encodeJson(() => {}), TypeError);
});
