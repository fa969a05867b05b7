import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { jsonBytes, LayoutError, type Struct, struct } from '../../kvm/layout.js';
import * as structs from '../../kvm/structs.js';

const all: Record<string, Struct<unknown>> = {
  kvm_segment: structs.kvmSegment,
  kvm_dtable: structs.kvmDtable,
  kvm_regs: structs.kvmRegs,
  kvm_sregs: structs.kvmSregs,
  kvm_sregs2: structs.kvmSregs2,
  kvm_vcpu_events: structs.kvmVcpuEvents,
  kvm_debugregs: structs.kvmDebugregs,
  kvm_xcrs: structs.kvmXcrs,
  kvm_cpuid_entry2: structs.kvmCpuidEntry,
  kvm_pic_state: structs.kvmPicState,
  kvm_ioapic_state: structs.kvmIoapicState,
  kvm_pit_state2: structs.kvmPitState2,
};

/** Any value of a struct: what decoding arbitrary bytes gives. */
const anyValue = (s: Struct<unknown>) =>
  fc.uint8Array({ minLength: s.size, maxLength: s.size }).map((bytes) => s.decode(new DataView(bytes.slice().buffer)));

function encoded(s: Struct<unknown>, value: unknown, fill = 0): Uint8Array {
  const bytes = new Uint8Array(s.size).fill(fill);
  s.encode(value, new DataView(bytes.buffer));
  return bytes;
}

t.test('a segment is encoded byte for byte as the kernel lays it out', (t) => {
  const code64: structs.KvmSegment = {
    base: 0x1122334455667788n,
    limit: 0xaabbccdd,
    selector: 0x0010,
    type: 0xb,
    present: 1,
    dpl: 3,
    db: 0,
    s: 1,
    l: 1,
    g: 1,
    avl: 0,
    unusable: 0,
  };
  const golden = '8877665544332211ddccbbaa10000b0103000101010000' + '00';
  t.equal(Buffer.from(encoded(structs.kvmSegment, code64)).toString('hex'), golden);
  t.equal(Buffer.from(encoded(structs.kvmSegment, code64, 0xff)).toString('hex'), golden, 'padding is written as zero');
  const at8 = new DataView(new ArrayBuffer(8 + 24));
  new Uint8Array(at8.buffer).set(Buffer.from(golden, 'hex'), 8);
  t.strictSame(structs.kvmSegment.decode(at8, 8), code64);
  t.end();
});

t.test('signed and 16-bit members of a PIT channel are encoded byte for byte', (t) => {
  const channel = {
    count: 0x10000,
    latched_count: 0x1234,
    count_latched: 1,
    status_latched: 2,
    status: 3,
    read_state: 4,
    write_state: 5,
    write_latch: 6,
    rw_mode: 7,
    mode: 8,
    bcd: 9,
    gate: 10,
    count_load_time: -2n,
  };
  const pit = { channels: [channel, channel, channel], flags: 1 };
  const one = '00000100' + '3412' + '0102030405060708090a' + 'feffffffffffffff';
  t.equal(
    Buffer.from(encoded(structs.kvmPitState2, pit)).toString('hex'),
    `${one.repeat(3)}01000000${'00'.repeat(36)}`,
  );
  t.end();
});

for (const [name, s] of Object.entries(all)) {
  t.test(`${name}: encoding and decoding, as bytes and as JSON, give back what was put in`, (t) => {
    t.equal(s.name, name);
    fc.assert(
      fc.property(anyValue(s), (value) => {
        assert.deepEqual(s.decode(new DataView(encoded(s, value, 0xff).buffer)), value);
        const json = JSON.parse(JSON.stringify(s.toJson(value)));
        assert.deepEqual(s.fromJson(json, 'x'), value);
      }),
      { numRuns: 20 },
    );
    t.end();
  });

  t.test(`${name}: JSON that a peer spoilt is refused by the name of the member`, (t) => {
    const wrong = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        undefined,
        true,
        -1,
        0.5,
        2 ** 32,
        2 ** 53,
        '0x',
        '0xG',
        '',
        '0x11112222333344445',
      ),
      fc.constantFrom<unknown>([], {}, [[]], '-0x1', 'AAAA', Number.MAX_VALUE),
    );
    fc.assert(
      fc.property(anyValue(s), fc.nat(), wrong, (value, pick, bad) => {
        const json = JSON.parse(JSON.stringify(s.toJson(value)));
        const members = Object.keys(json);
        const member = members[pick % members.length] as string;
        json[member] = bad;
        assert.throws(
          () => s.fromJson(json, 'state'),
          (error: unknown) => error instanceof LayoutError && error.message.startsWith(`state.${member}`),
        );
      }),
      { numRuns: 30 },
    );
    t.end();
  });

  t.test(`${name}: any JSON whatever is a value or a LayoutError`, (t) => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        try {
          s.fromJson(json, 'state');
        } catch (error) {
          if (!(error instanceof LayoutError)) throw error;
        }
      }),
      { numRuns: 50 },
    );
    t.end();
  });
}

t.test('a member that is missing, or one too many, is refused by name', (t) => {
  const good = structs.kvmDtable.toJson({ base: 1n, limit: 2 });
  t.strictSame(structs.kvmDtable.fromJson(good, 'gdt'), { base: 1n, limit: 2 });
  t.throws(() => structs.kvmDtable.fromJson({ base: '0x1' }, 'gdt'), { message: /^gdt\.limit must be .*missing$/ });
  for (const extra of ['more', 'toString', 'constructor', 'padding']) {
    t.throws(() => structs.kvmDtable.fromJson({ ...good, [extra]: 0 }, 'gdt'), {
      message: `gdt.${extra} must be absent, and is 0`,
    });
  }
  const proto = JSON.parse('{"base":"0x1","limit":2,"__proto__":{}}');
  t.throws(() => structs.kvmDtable.fromJson(proto, 'gdt'), { message: 'gdt.__proto__ must be absent, and is {}' });
  t.throws(() => structs.kvmDtable.fromJson([], 'gdt'), { message: 'gdt must be an object, and is []' });
  t.throws(() => structs.kvmDtable.encode({ base: 1n } as never, new DataView(new ArrayBuffer(16))), {
    message: 'kvm_dtable.limit is missing',
  });
  t.end();
});

t.test('a long wrong value is quoted only in part', (t) => {
  assert.throws(
    () => structs.kvmDtable.fromJson('x'.repeat(1e6), 'gdt'),
    (error: unknown) => (error as Error).message.length < 120,
  );
  t.end();
});

t.test('nested members and elements are named by their path', (t) => {
  const s = struct<{ list: { a: number }[] }>('outer', {
    list: { array: struct('inner', { a: 'u8' }), length: 2 },
  });
  t.throws(() => s.fromJson({ list: [{ a: 1 }, { a: 256 }] }, 'x'), {
    message: 'x.list[1].a must be an integer from 0 to 255, and is 256',
  });
  t.throws(() => s.fromJson({ list: [{ a: 1 }] }, 'x'), { message: /^x\.list must be a list of 2 elements/ });
  t.throws(() => s.encode({ list: [] }, new DataView(new ArrayBuffer(2))), RangeError);
  t.end();
});

t.test('alignment leaves gaps as C does, inside and behind', (t) => {
  const s = struct('gaps', { a: 'u8', b: 'u64', c: 'u16', d: { bytes: 3 } });
  t.strictSame(s.offsets, { a: 0, b: 8, c: 16, d: 18 });
  t.equal(s.size, 24);
  t.throws(() => s.encode({ a: 0, b: 0n, c: 0, d: new Uint8Array(2) }, new DataView(new ArrayBuffer(24))), RangeError);
  t.end();
});

t.test('base64 is refused when its length or its letters are wrong', (t) => {
  t.strictSame(jsonBytes('AQI=', 'x', 2, 2), Uint8Array.of(1, 2));
  for (const bad of ['AQID', 'AQ==', '*QI=', 'AQI=\n', '=', 5, null]) {
    t.throws(() => jsonBytes(bad, 'x', 2, 2), LayoutError, String(bad));
  }
  t.end();
});
