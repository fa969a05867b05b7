import fc from 'fast-check';
import t from 'tap';
import { Bus, BusCounters } from '../../../daemon/devices/bus.js';
import type { AccessSize, MmioDevice, PioRange, PortDevice } from '../../../daemon/devices/device.js';

class Recorder implements PortDevice, MmioDevice {
  readonly log: string[] = [];
  readonly pioRanges: readonly PioRange[];
  readonly pioWidth: AccessSize;

  constructor(pioRanges: readonly PioRange[] = [], pioWidth: AccessSize = 1) {
    this.pioRanges = pioRanges;
    this.pioWidth = pioWidth;
  }

  pioRead(port: number, size: AccessSize): number {
    this.log.push(`r${size} ${port.toString(16)}`);
    return size === 4 ? 0xa1b2c3d4 : size === 2 ? 0xe5f6 : port & 0xff;
  }

  pioWrite(port: number, size: AccessSize, value: number): void {
    this.log.push(`w${size} ${port.toString(16)} ${value.toString(16)}`);
  }

  mmioRead(offset: number, size: AccessSize): number {
    this.log.push(`r${size} ${offset.toString(16)}`);
    return size === 4 ? 0xf0000000 + offset : size === 2 ? 0x1100 + offset : offset;
  }

  mmioWrite(offset: number, size: AccessSize, value: number): void {
    this.log.push(`w${size} ${offset.toString(16)} ${value.toString(16)}`);
  }
}

function make() {
  const counters = new BusCounters(new SharedArrayBuffer(BusCounters.byteLength), 0);
  return { bus: new Bus(counters), counters, data: new DataView(new ArrayBuffer(64)) };
}

const hex = (data: DataView, at: number, n: number) => Buffer.from(data.buffer, at, n).toString('hex');

t.test('a port access reaches the device at that port, in place', async (t) => {
  const { bus, data } = make();
  const device = new Recorder([{ port: 0x3f8, length: 8 }]);
  bus.addPio(device);
  t.ok(bus.pioIn(0x3fd, 1, 1, data, 16));
  t.equal(data.getUint8(16), 0xfd);
  data.setUint8(16, 0x41);
  t.ok(bus.pioOut(0x3f8, 1, 1, data, 16));
  t.same(device.log, ['r1 3fd', 'w1 3f8 41']);
});

t.test('a wide access is split into what the device takes; beyond its range there are ones', async (t) => {
  const { bus, data } = make();
  const bytes = new Recorder([{ port: 0x70, length: 2 }]);
  const wide = new Recorder([{ port: 0x500, length: 8 }], 4);
  const narrow = new Recorder([{ port: 0x600, length: 2 }], 2);
  for (const device of [bytes, wide, narrow]) bus.addPio(device);
  bus.pioIn(0x70, 4, 1, data, 0);
  t.equal(hex(data, 0, 4), '7071ffff');
  bus.pioIn(0x504, 4, 1, data, 0);
  t.equal(hex(data, 0, 4), 'd4c3b2a1');
  bus.pioIn(0x600, 4, 1, data, 0);
  t.equal(hex(data, 0, 4), 'f6e5ffff');
  data.setUint32(0, 0x11223344, true);
  bus.pioOut(0x600, 4, 1, data, 0);
  bus.pioOut(0x70, 2, 1, data, 0);
  bus.pioOut(0x506, 4, 1, data, 0);
  t.same(narrow.log, ['r2 600', 'w2 600 3344']);
  t.same(bytes.log, ['r1 70', 'r1 71', 'w1 70 44', 'w1 71 33']);
  t.same(wide.log, ['r4 504', 'w2 506 3344']);
});

t.test('a four-byte access below a one-byte register does not touch it', async (t) => {
  const { bus, counters, data } = make();
  const reset = new Recorder([{ port: 0xcf9, length: 1 }]);
  bus.addPio(reset);
  t.notOk(bus.pioOut(0xcf8, 4, 1, data, 0));
  t.same(reset.log, []);
  t.equal(counters.read().pioWrites, 1);
});

t.test('string I/O repeats the access on one port', async (t) => {
  const { bus, data } = make();
  const device = new Recorder([{ port: 0x10, length: 2 }], 2);
  bus.addPio(device);
  for (const [i, c] of [...'abcd'].entries()) data.setUint8(8 + i, c.charCodeAt(0));
  bus.pioOut(0x10, 1, 4, data, 8);
  bus.pioOut(0x10, 2, 2, data, 8);
  t.same(device.log, ['w1 10 61', 'w1 10 62', 'w1 10 63', 'w1 10 64', 'w2 10 6261', 'w2 10 6463']);
  bus.pioIn(0x11, 1, 3, data, 0);
  t.equal(hex(data, 0, 3), '111111');
});

t.test('reads that nobody answers give ones, and all such accesses are counted', async (t) => {
  const { bus, counters, data } = make();
  t.notOk(bus.pioIn(0xcfc, 4, 2, data, 4));
  t.equal(hex(data, 0, 16), `00000000${'ff'.repeat(8)}00000000`);
  t.notOk(bus.pioOut(0x80, 1, 1, data, 0));
  t.notOk(bus.mmioRead(0x1_fed0_0000, 8, data, 0));
  t.equal(hex(data, 0, 8), 'ff'.repeat(8));
  t.notOk(bus.mmioWrite(0x1_fed0_0008, 4, data, 0));
  t.same(counters.read(), {
    pioReads: 1,
    pioWrites: 1,
    mmioReads: 1,
    mmioWrites: 1,
    lastPort: 0x80,
    lastGpa: 0x1_fed0_0008,
  });
});

t.test('an MMIO access reaches its device by offset, eight bytes as two words', async (t) => {
  const { bus, data } = make();
  const a = new Recorder();
  const b = new Recorder();
  bus.addMmio(0xd0000000, 0x200, a);
  bus.addMmio(0xd0000200, 0x200, b);
  t.ok(bus.mmioRead(0xd0000004, 4, data, 0));
  t.equal(data.getUint32(0, true), 0xf0000004);
  t.ok(bus.mmioRead(0xd0000210, 8, data, 0));
  t.equal(hex(data, 0, 8), '100000f0140000f0');
  t.ok(bus.mmioRead(0xd0000101, 3, data, 0));
  t.equal(hex(data, 0, 3), '011203');
  data.setUint32(0, 0xcafef00d, true);
  t.ok(bus.mmioWrite(0xd0000000, 4, data, 0));
  t.ok(bus.mmioRead(0xd00001fe, 4, data, 0));
  t.equal(hex(data, 0, 4), 'fe12ffff');
  t.same(a.log, ['r4 4', 'r2 101', 'r1 103', 'w4 0 cafef00d', 'r2 1fe']);
  t.same(b.log, ['r4 10', 'r4 14']);
});

t.test('ranges that overlap or do not exist are refused', async (t) => {
  const { bus } = make();
  bus.addPio(new Recorder([{ port: 0x60, length: 1 }]));
  t.throws(() => bus.addPio(new Recorder([{ port: 0x5f, length: 2 }])), RangeError);
  t.throws(() => bus.addPio(new Recorder([{ port: 0xffff, length: 2 }])), RangeError);
  bus.addMmio(0x1000, 0x1000, new Recorder());
  t.throws(() => bus.addMmio(0x1fff, 1, new Recorder()), RangeError);
  t.throws(() => bus.addMmio(0x3000, 0, new Recorder()), RangeError);
});

t.test('no access throws or touches data beyond its own', async () => {
  const { bus } = make();
  bus.addPio(new Recorder([{ port: 0x10, length: 3 }], 4));
  bus.addPio(new Recorder([{ port: 0xfffe, length: 2 }], 2));
  bus.addMmio(0x1000, 7, new Recorder());
  fc.assert(
    fc.property(
      fc.oneof(fc.integer({ min: 0, max: 0x20 }), fc.integer({ min: 0xfff0, max: 0xffff })),
      fc.constantFrom(1, 2, 4),
      fc.integer({ min: 0, max: 5 }),
      fc.integer({ min: 1, max: 8 }),
      (port, size, count, length) => {
        const bytes = new Uint8Array(64).fill(0x5a);
        const data = new DataView(bytes.buffer);
        bus.pioIn(port, size, count, data, 16);
        bus.pioOut(port, size, count, data, 16);
        const pioOk = bytes.every((b, i) => b === 0x5a || (i >= 16 && i < 16 + size * count));
        bytes.fill(0x5a);
        bus.mmioRead(0x1000 + (port & 0xf), length, data, 16);
        bus.mmioWrite(0x1000 + (port & 0xf), length, data, 16);
        return pioOk && bytes.every((b, i) => b === 0x5a || (i >= 16 && i < 16 + length));
      },
    ),
  );
});
