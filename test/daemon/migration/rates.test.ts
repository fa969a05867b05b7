import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { LinkMeter } from '../../../daemon/migration/link_meter.js';
import { Throttle } from '../../../daemon/migration/throttle.js';

t.test('over any window the throttle lets through its rate and at most one interval more', (t) => {
  const rate = fc.integer({ min: 10_000, max: 1e9 });
  // How full each batch is, and how much later than told the sender comes back.
  const batches = fc.array(fc.record({ share: fc.double({ min: 0.01, max: 1, noNaN: true }), lateMs: fc.nat(300) }), {
    minLength: 1,
    maxLength: 80,
    size: 'max',
  });
  fc.assert(
    fc.property(rate, batches, (bytesPerSecond, list) => {
      const throttle = new Throttle(0);
      const sent: { at: number; bytes: number }[] = [];
      let now = 0;
      for (const { share, lateMs } of list) {
        const bytes = throttle.batchBytes(bytesPerSecond) * share;
        sent.push({ at: now, bytes });
        now += throttle.sent(bytes, now, bytesPerSecond) + (lateMs > 200 ? lateMs : 0);
      }
      for (let i = 0; i < sent.length; i++) {
        let sum = 0;
        for (let k = i; k < sent.length; k++) {
          sum += sent[k]?.bytes ?? 0;
          const windowMs = (sent[k]?.at ?? 0) - (sent[i]?.at ?? 0);
          const most = (bytesPerSecond * (windowMs + 100)) / 1000;
          assert.ok(sum <= most * 1.000001, `${sum} bytes in ${windowMs} ms`);
        }
      }
    }),
  );
  t.end();
});

t.test('a sender that always has more uses the whole rate: exact over each 100 ms', (t) => {
  const throttle = new Throttle(0);
  let now = 0;
  let total = 0;
  while (now < 10_000) {
    const bytes = throttle.batchBytes(1_000_000) / 7;
    total += bytes;
    now += throttle.sent(bytes, now, 1_000_000);
    assert.ok(Math.abs(total - now * 1000) <= 50_000 + 1, `${total} bytes at ${now} ms`);
  }
  t.ok(total > 9_900_000);
  t.end();
});

t.test('0 is no limit, and a limit that is set later owes nothing for what went before', (t) => {
  const throttle = new Throttle(0);
  t.equal(throttle.batchBytes(0), Number.POSITIVE_INFINITY);
  t.equal(throttle.sent(1e12, 1, 0), 0);
  t.equal(throttle.sent(1000, 1, 1000), 1000, 'from then on it holds');
  t.end();
});

t.test('a link is measured between two readings, in bytes and pages a second', (t) => {
  const meter = new LinkMeter(1000);
  t.same(meter.measure(1500, 1_000_000, 244), { elapsedMs: 500, bytesPerSecond: 2_000_000, pagesPerSecond: 488 });
  t.same(
    meter.measure(1500, 2_000_000, 300),
    { elapsedMs: 0, bytesPerSecond: 0, pagesPerSecond: 0 },
    'no time, no rate',
  );
  t.same(meter.measure(3500, 2_000_000, 500), { elapsedMs: 2000, bytesPerSecond: 0, pagesPerSecond: 100 });
  t.end();
});
