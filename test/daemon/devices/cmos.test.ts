import fc from 'fast-check';
import t from 'tap';
import { Cmos } from '../../../daemon/devices/cmos.js';
import { FakeHost } from './fake_host.js';

const GIB = 2 ** 30;
const [SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, A, B, C, D, CENTURY] = [
  0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 0x32,
];

function make(ramBytes = GIB) {
  const host = new FakeHost();
  const cmos = new Cmos(new SharedArrayBuffer(Cmos.byteLength), 0, host, { ramBytes });
  cmos.reset();
  const read = (index: number): number => {
    cmos.pioWrite(0x70, 1, index);
    return cmos.pioRead(0x71, 1);
  };
  const write = (index: number, value: number): void => {
    cmos.pioWrite(0x70, 1, index);
    cmos.pioWrite(0x71, 1, value);
  };
  const time = (): number[] => [CENTURY, YEAR, MONTH, DAY, HOURS, MINUTES, SECONDS].map(read);
  return { host, cmos, read, write, time };
}

t.test('the clock shows the time of the host in BCD and 24 hours', async (t) => {
  const { host, read, time } = make();
  t.same(time(), [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58]);
  t.equal(read(WEEKDAY), 5, 'a Thursday');
  t.equal(read(B), 0x02);
  t.equal(read(D), 0x80, 'the battery is good');
  t.equal(read(0x0a), 0x26);
  host.nowMs += 2000;
  t.same(time(), [0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00], 'across the end of a leap February');
});

t.test('register B chooses binary and 12-hour formats without changing the time', async (t) => {
  const { host, write, read, time } = make();
  write(B, 0x06);
  t.same(time(), [20, 24, 2, 29, 23, 59, 58]);
  write(B, 0x04);
  t.equal(read(HOURS), 0x80 | 11);
  write(B, 0x00);
  t.equal(read(HOURS), 0x80 | 0x11);
  host.nowMs += 3600_000;
  t.equal(read(HOURS), 0x12, '12 at night is 12 AM');
  host.nowMs += 12 * 3600_000;
  t.equal(read(HOURS), 0x92, '12 at noon is 12 PM');
});

t.test('a guest sets the clock as Linux does, and the next second comes half a second later', async (t) => {
  const { host, write, read, time } = make();
  // drivers/rtc/rtc-mc146818-lib.c, mc146818_set_time()
  const control = read(B);
  write(B, control | 0x80);
  const rate = read(A);
  write(A, rate | 0x60);
  for (const [index, value] of [
    [YEAR, 0x99],
    [MONTH, 0x12],
    [DAY, 0x31],
    [HOURS, 0x23],
    [MINUTES, 0x59],
    [SECONDS, 0x59],
    [CENTURY, 0x19],
  ]) {
    write(index!, value!);
  }
  host.nowMs += 60_000;
  t.same(time(), [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59], 'it stands still while it is set');
  write(B, control);
  write(A, rate);
  t.same(time(), [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59]);
  host.nowMs += 499;
  t.equal(read(SECONDS), 0x59);
  host.nowMs += 1;
  t.same(time(), [0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00]);
});

t.test('register B stops the clock at the time it shows', async (t) => {
  const { host, write, time } = make();
  const before = time();
  write(B, 0x82);
  t.same(time(), before);
  host.nowMs += 5000;
  t.same(time(), before);
  write(B, 0x02);
  t.same(time(), before);
  host.nowMs += 1000;
  t.same(time().slice(-1), [0x59]);
});

t.test('a register that is written while the clock runs counts at once', async (t) => {
  const { host, write, time } = make();
  write(HOURS, 0x07);
  t.same(time(), [0x20, 0x24, 0x02, 0x29, 0x07, 0x59, 0x58]);
  host.nowMs += 1000;
  t.same(time(), [0x20, 0x24, 0x02, 0x29, 0x07, 0x59, 0x59]);
});

t.test('a 12-hour time is set with its PM bit', async (t) => {
  const { write, time } = make();
  for (const [twelve, twentyFour] of [
    [0x92, 0x12],
    [0x12, 0x00],
    [0x81, 0x13],
    [0x11, 0x11],
  ]) {
    write(B, 0x80);
    write(HOURS, twelve!);
    write(B, 0x00);
    t.equal(time()[4], twelve);
    write(B, 0x02);
    t.equal(time()[4], twentyFour);
  }
});

t.test('UIP is set for the last two milliseconds of a second and never while the clock is stopped', async (t) => {
  const { host, read, write } = make();
  host.nowMs = 1_700_000_000_000;
  t.equal(read(A) & 0x80, 0);
  host.nowMs += 997.5;
  t.equal(read(A) & 0x80, 0);
  host.nowMs += 1;
  t.equal(read(A) & 0x80, 0x80);
  write(B, 0x82);
  t.equal(read(A) & 0x80, 0);
});

t.test('RAM sizes are where firmware leaves them', async (t) => {
  const word = (read: (i: number) => number, at: number) => read(at) | (read(at + 1) << 8);
  const small = make(64 * 2 ** 20);
  t.equal(word(small.read, 0x15), 640);
  t.equal(word(small.read, 0x17), 63 * 1024);
  t.equal(word(small.read, 0x30), 63 * 1024);
  t.equal(word(small.read, 0x34), 48 * 16);
  const big = make(5 * GIB);
  t.equal(word(big.read, 0x17), 0xffff);
  t.equal(word(big.read, 0x34), (3 * GIB - 16 * 2 ** 20) / 65536);
  t.equal(word(big.read, 0x5b) | (big.read(0x5d) << 16), (2 * GIB) / 65536);
  t.equal(word(make(2 * 2 ** 20).read, 0x34), 0);
});

t.test('reset keeps time and RAM and disables interrupts', async (t) => {
  const { cmos, host, read, write, time } = make();
  write(YEAR, 0x30);
  write(0x40, 0xa5);
  write(B, 0x7a);
  cmos.reset();
  t.equal(read(B), 0x02);
  t.equal(read(0x40), 0xa5);
  host.nowMs += 1000;
  t.equal(time()[1], 0x30);
});

t.test('the index reads as ones, its top bit is ignored, and C and D are read-only', async (t) => {
  const { cmos, read, write } = make();
  write(0x80 | 0x45, 0x77);
  t.equal(read(0x45), 0x77);
  t.equal(cmos.pioRead(0x70, 1), 0xff);
  write(C, 0xff);
  write(D, 0);
  t.equal(read(C), 0);
  t.equal(read(D), 0x80);
});

t.test('any time that is set is read back, in every format', async () => {
  fc.assert(
    fc.property(
      fc.date({ min: new Date(Date.UTC(0, 0, 1)), max: new Date(Date.UTC(9999, 11, 31)), noInvalidDate: true }),
      fc.constantFrom(0, 2, 4, 6),
      (date, format) => {
        const { write, read } = make();
        const code = (v: number) => ((format & 4) !== 0 ? v : Math.floor(v / 10) * 16 + (v % 10));
        const h = date.getUTCHours();
        const hours = (format & 2) !== 0 ? code(h) : code(h % 12 || 12) | (h >= 12 ? 0x80 : 0);
        const year = date.getUTCFullYear();
        const values: [number, number][] = [
          [CENTURY, code(Math.floor(year / 100))],
          [YEAR, code(year % 100)],
          [MONTH, code(date.getUTCMonth() + 1)],
          [DAY, code(date.getUTCDate())],
          [HOURS, hours],
          [MINUTES, code(date.getUTCMinutes())],
          [SECONDS, code(date.getUTCSeconds())],
        ];
        write(B, 0x80 | format);
        for (const [index, value] of values) write(index, value);
        write(B, format);
        return values.every(([index, value]) => read(index) === value) && read(WEEKDAY) === date.getUTCDay() + 1;
      },
    ),
  );
});

t.test(
  'no sequence of accesses throws or gives a value out of range, and a saved clock goes on elsewhere',
  async () => {
    const step = fc.record({
      index: fc.oneof(fc.constantFrom(SECONDS, HOURS, DAY, MONTH, YEAR, A, B, CENTURY), fc.nat({ max: 255 })),
      value: fc.nat({ max: 255 }),
      write: fc.boolean(),
      later: fc.nat({ max: 100_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 10 }), (before, after) => {
        const a = make();
        for (const s of before) {
          a.host.nowMs += s.later;
          if (s.write) a.write(s.index, s.value);
          const value = a.read(s.index);
          if (!Number.isInteger(value) || value < 0 || value > 255) return false;
        }
        const b = make();
        b.cmos.load(JSON.parse(JSON.stringify(a.cmos.save())));
        b.host.nowMs = a.host.nowMs;
        for (const s of after) {
          a.host.nowMs = b.host.nowMs += s.later;
          if (s.write) {
            a.write(s.index, s.value);
            b.write(s.index, s.value);
          }
          if (a.read(s.index) !== b.read(s.index)) return false;
        }
        return true;
      }),
    );
  },
);

t.test('a hostile document is refused, and the farthest legal offset still gives registers', async (t) => {
  const { cmos, time } = make();
  const saved = cmos.save();
  t.throws(() => cmos.load({ ...saved, offsetMs: 1e300 }), { message: /cmos: offsetMs is 1e\+300, not within/ });
  t.throws(() => cmos.load({ ...saved, offsetMs: Number.NaN }), { message: /offsetMs is not a finite number/ });
  t.throws(() => cmos.load({ ...saved, index: 128 }), { message: /index is 128/ });
  t.throws(() => cmos.load({ ...saved, ram: new Array(127).fill(0) }), { message: /ram is not an array of 128/ });
  for (const offsetMs of [1.7e16, -1.7e16]) {
    cmos.load({ ...saved, offsetMs });
    t.ok(time().every((v) => v >= 0 && v <= 0x99));
  }
});

t.test('setting the clock is reported with whole seconds ahead of the host, the last one if several', async (t) => {
  const { host, cmos, write } = make();
  t.equal(cmos.takeChange(), undefined);
  write(B, 0x82);
  write(SECONDS, 0x10);
  t.equal(host.rtcChanges, 0, 'not while the clock is stopped');
  write(B, 0x02);
  t.equal(host.rtcChanges, 1);
  write(SECONDS, 0x40);
  t.equal(host.rtcChanges, 1, 'one report until somebody has looked');
  t.equal(cmos.takeChange(), 40 - 58);
  t.equal(cmos.takeChange(), undefined);
  write(YEAR, 0x25);
  t.equal(host.rtcChanges, 2);
  t.equal(cmos.takeChange(), 366 * 86400 + 40 - 58, '29 February 2025 is 1 March');
});

t.test('neither a reset nor another machine’s state is a change of the clock', async (t) => {
  const { host, cmos, write } = make();
  write(SECONDS, 0x40);
  cmos.takeChange();
  const other = make();
  other.cmos.load(cmos.save());
  cmos.reset();
  t.equal(cmos.takeChange(), undefined);
  t.equal(other.cmos.takeChange(), undefined);
  t.equal(host.rtcChanges, 1);
});
