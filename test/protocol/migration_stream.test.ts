import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import * as s from '../../protocol/migration_stream.js';

const names = Object.keys(s.FRAME) as s.FrameName[];
const jsonNames = names.filter((name) => name !== 'RAM' && name !== 'ZERO');

function encoded(header: s.FrameHeader): DataView {
  const view = new DataView(new Uint8Array(s.HEADER_BYTES).fill(0xff).buffer);
  s.encodeHeader(view, header);
  return view;
}

/** What refuses it, or undefined. Anything but a StreamError is thrown on. */
function refusal(decode: () => unknown): s.StreamError | undefined {
  try {
    decode();
    return undefined;
  } catch (error) {
    if (error instanceof s.StreamError) return error;
    throw error;
  }
}

/** A header that is in order. */
const header: fc.Arbitrary<s.FrameHeader> = fc.oneof(
  fc.record(
    {
      type: fc.constantFrom(...jsonNames),
      bodyBytes: fc.integer({ min: 2, max: s.MAX_JSON_BYTES }),
      pages: fc.constant(0),
      sequence: fc.nat(0xffffffff),
    },
    { noNullPrototype: true },
  ),
  fc
    .tuple(
      fc.constantFrom('RAM' as const, 'ZERO' as const),
      fc.integer({ min: 1, max: s.MAX_RANGES }),
      fc.nat(),
      fc.nat(),
    )
    .map(([type, ranges, more, sequence]) => ({
      type,
      bodyBytes: ranges * s.RANGE_BYTES,
      pages: ranges + (more % (s.MAX_FRAME_PAGES - ranges)),
      sequence,
    })),
);

t.test('a header is encoded byte for byte as the stream’s table says', (t) => {
  const hex = (h: s.FrameHeader) => Buffer.from(encoded(h).buffer).toString('hex');
  t.equal(
    hex({ type: 'RAM', bodyBytes: 16, pages: 0x203, sequence: 0x01020304 }),
    '4d504c4d' + '0400' + '0000' + '10000000' + '03020000' + '04030201' + '00000000',
  );
  t.equal(
    hex({ type: 'HELLO', bodyBytes: 0x1234, pages: 0, sequence: 0 }),
    '4d504c4d' + '0100' + '0000' + '34120000' + '00000000' + '00000000' + '00000000',
  );
  t.equal(
    Buffer.from(encoded({ type: 'ACCEPT', bodyBytes: 2, pages: 0, sequence: 0 }).buffer).toString('latin1', 0, 4),
    'MPLM',
  );
  t.end();
});

t.test('frame types are small numbers from 1 on, each of its own', (t) => {
  t.strictSame(
    Object.values(s.FRAME),
    names.map((_, i) => i + 1),
  );
  t.end();
});

t.test('a header that was encoded decodes to the same', (t) => {
  fc.assert(
    fc.property(header, (h) => {
      assert.deepEqual(s.decodeHeader(encoded(h), h.sequence, 0), h);
    }),
  );
  t.end();
});

t.test('no 24 bytes whatever do anything but decode or be refused with their offset', (t) => {
  const near = fc.tuple(header, fc.nat(s.HEADER_BYTES - 1), fc.nat(255)).map(([h, at, byte]) => {
    const bytes = new Uint8Array(encoded(h).buffer);
    bytes[at] = byte;
    return bytes;
  });
  const any = fc.uint8Array({ minLength: s.HEADER_BYTES, maxLength: s.HEADER_BYTES });
  fc.assert(
    fc.property(fc.oneof(near, any), fc.nat(0xffffffff), fc.nat(2 ** 31 - 1), (bytes, sequence, offset) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const error = refusal(() => {
        const h = s.decodeHeader(view, sequence, offset);
        assert.equal(h.sequence, sequence);
        assert.ok(h.bodyBytes > 0 && h.bodyBytes <= s.MAX_JSON_BYTES, 'what is accepted is bounded');
        assert.ok(h.type !== 'RAM' || h.pages <= s.MAX_FRAME_PAGES);
        assert.deepEqual(new Uint8Array(encoded(h).buffer), new Uint8Array(bytes), 'and has no other encoding');
      });
      if (error) assert.equal(error.offset, offset);
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('each fault of a header is named, with its offset in the stream', (t) => {
  const good: s.FrameHeader = { type: 'RAM', bodyBytes: 16, pages: 5, sequence: 7 };
  const fault = (change: (view: DataView) => void, h: s.FrameHeader = good) => {
    const view = encoded(h);
    change(view);
    const error = refusal(() => s.decodeHeader(view, 7, 1000));
    t.equal(error?.offset, 1000);
    return error?.message;
  };
  t.equal(
    fault((v) => v.setUint32(0, 0x47455420, true)),
    'not a migration stream: magic 0x47455420 at stream offset 1000',
  );
  t.equal(
    fault((v) => v.setUint16(4, 0, true)),
    'unknown frame type 0 at stream offset 1000',
  );
  t.equal(
    fault((v) => v.setUint16(4, 15, true)),
    'unknown frame type 15 at stream offset 1000',
  );
  t.equal(
    fault((v) => v.setUint16(6, 1, true)),
    'reserved bits are set in a RAM frame at stream offset 1000',
  );
  t.equal(
    fault((v) => v.setUint32(20, 1, true)),
    'reserved bits are set in a RAM frame at stream offset 1000',
  );
  t.equal(
    fault((v) => v.setUint32(16, 8, true)),
    'RAM frame has sequence 8, expected 7 at stream offset 1000',
  );
  const sized = (type: s.FrameName, bodyBytes: number, pages: number) =>
    fault(() => {}, { type, bodyBytes, pages, sequence: 7 });
  for (const type of ['RAM', 'ZERO'] as const) {
    for (const bytes of [0, 7, 12, (s.MAX_RANGES + 1) * s.RANGE_BYTES, 0xfffffff8]) {
      t.equal(sized(type, bytes, 1000), `${type} frame has a table of ${bytes} bytes at stream offset 1000`);
    }
    t.equal(sized(type, 16, 1), `${type} frame has 1 pages in 2 ranges at stream offset 1000`);
    t.equal(sized(type, 8, 0), `${type} frame has 0 pages in 1 ranges at stream offset 1000`);
  }
  t.equal(sized('RAM', 8, s.MAX_FRAME_PAGES + 1), 'RAM frame has 16385 pages in 1 ranges at stream offset 1000');
  for (const type of jsonNames) {
    t.equal(sized(type, 10, 1), `${type} frame has 1 pages at stream offset 1000`);
    for (const bytes of [0, 1, s.MAX_JSON_BYTES + 1, 0xffffffff]) {
      t.equal(sized(type, bytes, 0), `${type} frame has a body of ${bytes} bytes at stream offset 1000`);
    }
  }
  t.equal(
    s.decodeHeader(encoded({ type: 'ZERO', bodyBytes: 8, pages: 0xffffffff, sequence: 7 }), 7, 0).pages,
    0xffffffff,
    'ZERO has no payload, so only the RAM itself bounds it',
  );
  t.end();
});

t.test('a table of ranges decodes to the ranges it was made from', (t) => {
  const ranges = fc.array(fc.tuple(fc.nat(1e6), fc.integer({ min: 1, max: 30 })), {
    minLength: 1,
    maxLength: s.MAX_RANGES,
    size: 'max',
  });
  fc.assert(
    fc.property(ranges, (list) => {
      const flat = Uint32Array.from(list.flat());
      const view = new DataView(new ArrayBuffer(8 + flat.length * 4));
      s.encodeRanges(view, 8, flat, list.length);
      const pages = list.reduce((sum, [, count]) => sum + count, 0);
      const h: s.FrameHeader = { type: 'RAM', bodyBytes: list.length * 8, pages, sequence: 0 };
      const out = new Uint32Array(2 * s.MAX_RANGES);
      const body = new DataView(view.buffer, 8);
      assert.equal(s.decodeRanges(body, h, 1e6 + 30, 0, out), list.length);
      assert.deepEqual(out.subarray(0, flat.length), flat);
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('a range that is empty or leaves RAM, and a sum that is not the header’s, is refused where it stands', (t) => {
  const ram = 1000;
  const decode = (pages: number, ...flat: number[]) => {
    const view = new DataView(new ArrayBuffer(flat.length * 4));
    s.encodeRanges(view, 0, Uint32Array.from(flat), flat.length / 2);
    const h: s.FrameHeader = { type: 'RAM', bodyBytes: flat.length * 4, pages, sequence: 0 };
    return refusal(() => s.decodeRanges(view, h, ram, 500, new Uint32Array(2 * s.MAX_RANGES)))?.message;
  };
  t.equal(decode(1000, 0, 1000), undefined);
  t.equal(decode(2, 999, 1, 0, 1), undefined);
  t.equal(decode(2, 0, 1, 1000, 1), 'RAM range 1000+1 is not inside 1000 pages of RAM at stream offset 508');
  t.equal(decode(2, 999, 2), 'RAM range 999+2 is not inside 1000 pages of RAM at stream offset 500');
  t.equal(decode(2, 0, 2, 5, 0), 'RAM range 5+0 is not inside 1000 pages of RAM at stream offset 508');
  t.equal(
    decode(1, 0xffffffff, 0xffffffff),
    'RAM range 4294967295+4294967295 is not inside 1000 pages of RAM at stream offset 500',
    'sums do not wrap around',
  );
  t.equal(decode(3, 0, 2), 'RAM ranges hold 2 pages, the header says 3 at stream offset 500');
  t.equal(decode(1, 0, 1, 0, 1), 'RAM ranges hold 2 pages, the header says 1 at stream offset 500');
  t.end();
});

t.test('no table whatever gets a page outside RAM past the check', (t) => {
  const word = fc.oneof(fc.nat(20), fc.nat(0xffffffff));
  fc.assert(
    fc.property(fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 8 }), fc.nat(200), (list, pages) => {
      const view = new DataView(new ArrayBuffer(list.length * 8));
      s.encodeRanges(view, 0, Uint32Array.from(list.flat()), list.length);
      const h: s.FrameHeader = { type: 'ZERO', bodyBytes: list.length * 8, pages, sequence: 0 };
      const out = new Uint32Array(2 * s.MAX_RANGES);
      if (refusal(() => s.decodeRanges(view, h, 25, 0, out)) === undefined) {
        for (const [first, count] of list) assert.ok(count > 0 && first + count <= 25);
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('JSON bodies come back as they were, and what is none is refused', (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }), (body) => {
      const plain = JSON.parse(JSON.stringify(body));
      assert.deepEqual(s.decodeJson(s.encodeJson(plain), 'STATE', 0), plain);
      assert.deepEqual(s.encodeJson(JSON.stringify(plain)), s.encodeJson(plain));
    }),
    { numRuns: 50 },
  );
  const fault = (bytes: Uint8Array) => refusal(() => s.decodeJson(bytes, 'HELLO', 24))?.message;
  const text = (x: string) => new TextEncoder().encode(x);
  for (const none of ['[]', 'null', '5', '"x"']) {
    t.equal(fault(text(none)), 'HELLO frame is no JSON object at stream offset 24', none);
  }
  for (const broken of ['', '{', '{"a":}', '{}x', '['.repeat(200_000)]) {
    t.match(fault(text(broken)), /^HELLO frame is no JSON \(.*\) at stream offset 24$/s, broken.slice(0, 10));
  }
  t.match(fault(Uint8Array.of(0x7b, 0xff, 0x7d)), /^HELLO frame is no JSON/, 'bytes that are no UTF-8');
  t.end();
});

t.test('no bytes whatever do anything to the JSON reader but decode or be refused', (t) => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((x) => new TextEncoder().encode(x)),
      ),
      (bytes) => {
        refusal(() => s.decodeJson(bytes, 'STATE', 0));
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

t.test('a body larger than a frame may be is not made', (t) => {
  t.equal(s.encodeJson('x'.repeat(s.MAX_JSON_BYTES)).length, s.MAX_JSON_BYTES);
  t.throws(() => s.encodeJson('x'.repeat(s.MAX_JSON_BYTES + 1)), {
    name: 'RangeError',
    message: "a frame's body of 262145 bytes is over the limit of 262144",
  });
  t.end();
});

t.test('the destination takes each frame only where it has its place', (t) => {
  const allowed: Record<s.ReceiverState, Partial<Record<s.FrameName, s.ReceiverState>>> = {
    hello: { HELLO: 'live' },
    live: { RAM: 'live', ZERO: 'live', SYNC: 'live', FLUSH: 'live', STATE: 'state' },
    state: { STATE: 'state', DIGEST: 'ready' },
    ready: { COMMIT: 'committed' },
    committed: {},
  };
  for (const state of Object.keys(allowed) as s.ReceiverState[]) {
    for (const type of names) {
      const next = allowed[state][type];
      if (next) t.equal(s.nextReceiverState(state, type, 9), next, `${type} in ${state}`);
      else
        t.throws(() => s.nextReceiverState(state, type, 9), {
          message: `${type} frame in state '${state}' at stream offset 9`,
        });
    }
  }
  t.end();
});

const hello = (): Record<string, unknown> => ({
  version: 2,
  machine: { vcpus: 2, ramBytes: 2 ** 28, pageSize: 4096, firmware: 'ab12', devices: { serial0: 1, cmos: 1 } },
  maxBufferBytes: 2 ** 24,
  oneWay: false,
});

t.test('a HELLO is read back, and members it may gain later do not matter', (t) => {
  t.strictSame(s.checkHello({ ...hello(), later: [] }, 0), hello());
  t.strictSame(s.checkHello({ ...hello(), uuid: 'ab' }, 0), { ...hello(), uuid: 'ab' });
  t.end();
});

t.test('a HELLO whose members are missing or no positive integers is refused by name', (t) => {
  const fault = (change: (h: Record<string, unknown>, m: Record<string, unknown>) => void) => {
    const h = structuredClone(hello());
    change(h, h.machine as Record<string, unknown>);
    return refusal(() => s.checkHello(h, 24))?.message;
  };
  t.equal(
    fault((h) => delete h.version),
    'HELLO: version is missing at stream offset 24',
  );
  for (const bad of [undefined, 0, 'true']) {
    t.equal(
      fault((h) => Object.assign(h, { oneWay: bad })),
      `HELLO: oneWay is ${bad === undefined ? 'missing' : JSON.stringify(bad)} at stream offset 24`,
    );
  }
  t.equal(
    fault((h) => Object.assign(h, { uuid: 7 })),
    'HELLO: uuid is 7 at stream offset 24',
  );
  t.equal(
    fault((h) => {
      h.version = 3;
    }),
    'the source speaks stream version 3, this destination 2 at stream offset 24',
  );
  for (const bad of [0, -1, 1.5, '1', null, 2 ** 53, true]) {
    const shown = JSON.stringify(bad);
    t.equal(
      fault((h) => Object.assign(h, { maxBufferBytes: bad })),
      `HELLO: maxBufferBytes is ${shown} at stream offset 24`,
    );
    for (const member of ['vcpus', 'ramBytes', 'pageSize']) {
      t.equal(
        fault((_, m) => Object.assign(m, { [member]: bad })),
        `HELLO: machine.${member} is ${shown} at stream offset 24`,
      );
    }
    t.equal(
      fault((_, m) => Object.assign(m, { devices: { cmos: bad } })),
      `HELLO: machine.devices.cmos is ${shown} at stream offset 24`,
    );
  }
  for (const bad of [undefined, 7, '', 'a b', 'x'.repeat(65)]) {
    const shown = bad === undefined ? 'missing' : JSON.stringify(bad);
    t.equal(
      fault((_, m) => Object.assign(m, { firmware: bad })),
      `HELLO: machine.firmware is ${shown} at stream offset 24`,
    );
  }
  t.equal(
    fault((h) => delete h.machine),
    'HELLO: machine is missing at stream offset 24',
  );
  t.equal(
    fault((h) => Object.assign(h, { machine: null })),
    'HELLO: machine is null at stream offset 24',
  );
  t.equal(
    fault((_, m) => delete m.devices),
    'HELLO: machine.devices is missing at stream offset 24',
  );
  t.equal(
    fault((_, m) => Object.assign(m, { devices: [1] })),
    'HELLO: machine.devices is [1] at stream offset 24',
  );
  t.end();
});

t.test('no JSON object whatever does anything to a HELLO’s check but pass or be refused', (t) => {
  const value = fc.oneof(fc.constantFrom<unknown>(1, 4096, null, {}, []), fc.jsonValue());
  const member = fc.constantFrom('version', 'machine', 'maxBufferBytes', 'oneWay');
  fc.assert(
    fc.property(
      member,
      value,
      fc.dictionary(fc.constantFrom('vcpus', 'ramBytes', 'pageSize', 'firmware', 'devices'), value),
      (m, v, machine) => {
        refusal(() => s.checkHello({ ...hello(), [m]: v }, 0));
        refusal(() => s.checkHello({ ...hello(), machine }, 0));
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

t.test('two machines that differ are told apart by what differs and by how', (t) => {
  const ours = (hello() as unknown as s.Hello).machine;
  const why = (change: Partial<s.Hello['machine']>) => s.machineMismatch({ ...ours, ...change }, ours);
  t.equal(why({}), undefined);
  t.equal(why({ pageSize: 16384 }), 'page size: the source has 16384, this destination 4096');
  t.equal(why({ ramBytes: 1 }), 'bytes of RAM: the source has 1, this destination 268435456');
  t.equal(why({ firmware: 'cd' }), 'firmware: the source has cd, this destination ab12');
  t.equal(why({ vcpus: 1 }), 'vCPUs: the source has 1, this destination 2');
  t.equal(
    why({ devices: { serial0: 2, cmos: 1 } }),
    'device serial0: the source has version 2, this destination version 1',
  );
  t.equal(why({ devices: { serial0: 1 } }), 'device cmos: the source has none, this destination version 1');
  t.equal(
    why({ devices: { serial0: 1, cmos: 1, toString: 3 } as never }),
    'device toString: the source has version 3, this destination none',
  );
  t.end();
});
