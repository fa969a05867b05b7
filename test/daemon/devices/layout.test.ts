import fc from 'fast-check';
import t from 'tap';
import { DeviceStateError, defineLayout } from '../../../daemon/devices/layout.js';

const layout = defineLayout({
  name: 'thing',
  version: 3,
  fields: {
    a: 'u8',
    ticks: 'u64',
    b: 'u16',
    bytes: ['u8', 3],
    c: 'u32',
    signed: 'i32',
    when: 'f64',
    words: ['u16', 2],
    level: { type: 'u8', max: 1 },
  },
});

function make() {
  return layout.bind(new SharedArrayBuffer(layout.byteLength + 8), 8);
}

const valid = {
  version: 3,
  a: 1,
  ticks: '0xffffffffffffffff',
  b: 65535,
  bytes: [1, 2, 255],
  c: 4294967295,
  signed: -2147483648,
  when: -1.5,
  words: [7, 65535],
  level: 1,
};

t.test('fields read and write shared memory that every binding sees', async (t) => {
  const buffer = new SharedArrayBuffer(layout.byteLength);
  const one = layout.bind(buffer, 0);
  const other = layout.bind(buffer, 0);
  one.a = 0x1ff;
  one.ticks = 2n ** 63n;
  one.bytes[2] = 9;
  one.when = 0.25;
  one.signed = -5;
  t.equal(other.a, 0xff);
  t.equal(other.ticks, 2n ** 63n);
  t.same([...other.bytes], [0, 0, 9]);
  t.equal(other.when, 0.25);
  t.equal(other.signed, -5);
  t.equal(layout.byteLength % 8, 0);
});

t.test('fields do not overlap', async (t) => {
  const bound = make();
  bound.load(valid);
  t.same(bound.save(), valid);
});

t.test('what is saved is JSON, and loading it gives the same state', async () => {
  const number = (min: number, max: number) => fc.integer({ min, max });
  fc.assert(
    fc.property(
      fc.record({
        version: fc.constant(3),
        a: number(0, 255),
        ticks: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((v) => `0x${v.toString(16)}`),
        b: number(0, 65535),
        bytes: fc.array(number(0, 255), { minLength: 3, maxLength: 3 }),
        c: number(0, 2 ** 32 - 1),
        signed: number(-(2 ** 31), 2 ** 31 - 1),
        when: fc.double({ noNaN: true, noDefaultInfinity: true }).map((v) => v + 0),
        words: fc.array(number(0, 65535), { minLength: 2, maxLength: 2 }),
        level: number(0, 1),
      }),
      (doc) => {
        const bound = make();
        bound.load(JSON.parse(JSON.stringify(doc)));
        return JSON.stringify(bound.save()) === JSON.stringify(doc);
      },
    ),
  );
});

t.test('a document with one wrong member is refused by name and changes nothing', async (t) => {
  const cases: [Record<string, unknown>, string][] = [
    [{ a: 256 }, 'state of device thing: a is 256, not within 0 and 255'],
    [{ a: -1 }, 'state of device thing: a is -1, not within 0 and 255'],
    [{ a: 1.5 }, 'state of device thing: a is not an integer but 1.5'],
    [{ a: '1' }, 'state of device thing: a is not an integer but "1"'],
    [{ a: null }, 'state of device thing: a is not an integer but null'],
    [{ a: Number.NaN }, 'state of device thing: a is not an integer but NaN'],
    [{ a: undefined }, 'state of device thing: a is not an integer but undefined'],
    [{ level: 2 }, 'state of device thing: level is 2, not within 0 and 1'],
    [{ when: Number.POSITIVE_INFINITY }, 'state of device thing: when is not a finite number but Infinity'],
    [{ ticks: 5 }, 'state of device thing: ticks is not a 64-bit hexadecimal string but 5'],
    [
      { ticks: '0x10000000000000000' },
      'state of device thing: ticks is not a 64-bit hexadecimal string but "0x10000000000000000"',
    ],
    [{ bytes: [1, 2] }, 'state of device thing: bytes is not an array of 3 numbers but an array of 2'],
    [{ bytes: 'abc' }, 'state of device thing: bytes is not an array of 3 numbers but "abc"'],
    [{ bytes: [1, 2, 256] }, 'state of device thing: bytes[2] is 256, not within 0 and 255'],
    [{ bytes: new Array(3) }, 'state of device thing: bytes[0] is not an integer but undefined'],
    [{ version: 2 }, 'state of device thing: version is 2, this side knows 3'],
    [{ version: '3' }, 'state of device thing: version is "3", this side knows 3'],
    [{ extra: 1 }, 'state of device thing: "extra" is not a field this side knows'],
    [{ ['x'.repeat(100)]: 1 }, `state of device thing: "${'x'.repeat(40)}…" is not a field this side knows`],
  ];
  const bound = make();
  const before = bound.save();
  for (const [change, message] of cases) {
    t.throws(() => bound.load({ ...valid, ...change }), { name: 'DeviceStateError', message }, message);
  }
  const { c: _, ...missing } = valid;
  t.throws(() => bound.load(missing), { device: 'thing', field: 'c', message: /c is missing/ });
  t.throws(() => bound.load(JSON.parse('{"__proto__":{"a":1},"version":3}')), DeviceStateError);
  for (const doc of [null, undefined, 1, 'x', [], [valid]]) {
    t.throws(() => bound.load(doc), { name: 'DeviceStateError', field: 'the document' });
  }
  t.same(bound.save(), before);
});

t.test('no document makes load throw anything but a DeviceStateError', async () => {
  const bound = make();
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue(),
        fc.dictionary(fc.constantFrom(...Object.keys(valid)), fc.jsonValue()).map((d) => ({ ...valid, ...d })),
      ),
      (doc) => {
        try {
          bound.load(doc);
        } catch (error) {
          return error instanceof DeviceStateError;
        }
        return true;
      },
    ),
  );
});

t.test('a layout cannot lie outside its buffer, unaligned, or name a field like a method', async (t) => {
  t.throws(() => layout.bind(new SharedArrayBuffer(layout.byteLength), 8), RangeError);
  t.throws(() => layout.bind(new SharedArrayBuffer(layout.byteLength + 8), 4), RangeError);
  t.throws(() => defineLayout({ name: 'x', version: 1, fields: { save: 'u8' } }), TypeError);
});
