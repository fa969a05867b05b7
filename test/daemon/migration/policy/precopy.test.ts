import fc from 'fast-check';
import t from 'tap';
import { PageBitmap, PageRanges, PrecopyPolicy } from '../../../../daemon/migration/policy/index.js';
import { listPages, migrate } from './harness.js';

const PAGE = 4096;
/** 100 pages a second. */
const LINK = { bytesPerSecond: 100 * PAGE };

function logOf(pages: number, count: number): PageBitmap {
  const log = new PageBitmap(pages);
  log.setRange(0, count);
  return log;
}

function drain(policy: PrecopyPolicy, ranges: PageRanges): number {
  let pages = 0;
  while (policy.next(0, ranges, 64).kind === 'send') pages += ranges.pages;
  return pages;
}

t.test('an idle guest is switched over after the first pass', async (t) => {
  const script = { writes: [], adversary: false, batchMs: [1], maxPages: 64, maxRanges: 8 };
  const run = migrate(new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 0), 500, script);
  t.same([run.livePages, run.finalPages, run.syncs], [500, 0, 1]);
});

t.test(
  'pass 0 sends all memory, each later pass what the log found, until the rest fits the downtime limit',
  async (t) => {
    const policy = new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 300);
    const ranges = new PageRanges(8);
    t.equal(drain(policy, ranges), 500);
    policy.synced(1, logOf(500, 200), LINK);
    t.equal(drain(policy, ranges), 200);
    policy.synced(2, logOf(500, 31), LINK);
    t.equal(drain(policy, ranges), 31);
    policy.synced(3, logOf(500, 30), LINK);
    t.same(policy.next(3, ranges, 64), { kind: 'switchover' }, '30 pages take 300 ms');
    policy.finalSync(4, logOf(500, 40));
    t.equal(drain(policy, ranges), 40);
    t.same(
      policy.records.map((record) => [record.nonDirtyPagesSent, record.dirtyPagesSent, record.newDirtyPages]),
      [
        [500, 0, 200],
        [0, 200, 31],
        [0, 31, 30],
        [0, 0, 10],
      ],
    );
  },
);

t.test('the bandwidth that counts is that of the last pass', async (t) => {
  const policy = new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 300);
  const ranges = new PageRanges(8);
  drain(policy, ranges);
  policy.synced(1, logOf(500, 60), LINK);
  t.same(policy.next(1, ranges, 64), { kind: 'send' });
  drain(policy, ranges);
  policy.synced(2, logOf(500, 60), { bytesPerSecond: LINK.bytesPerSecond * 2 });
  t.same(policy.next(2, ranges, 64), { kind: 'switchover' });
});

t.test('a guest faster than the link keeps it going, until the limit is raised', async (t) => {
  const policy = new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 300);
  const ranges = new PageRanges(8);
  for (let pass = 0; pass < 1000; pass++) {
    drain(policy, ranges);
    policy.synced(pass, logOf(500, 400), LINK);
  }
  t.equal(policy.stage, 'live');
  t.equal(policy.epoch, 1000);
  policy.next(1000, ranges, 64);
  policy.setDowntimeLimitMs(4000);
  t.same(policy.next(1000, ranges, 64), { kind: 'sync' }, 'in the middle of a pass');
  policy.synced(1000, logOf(500, 400), LINK);
  t.same(policy.next(1000, ranges, 64), { kind: 'switchover' });
});

t.test('a changed limit that is not met does not lose a page of the pass', async (t) => {
  const policy = new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 0);
  const ranges = new PageRanges(8);
  policy.setDowntimeLimitMs(1);
  t.same(policy.next(0, ranges, 64), { kind: 'send' }, 'pass 0 is not interrupted');
  drain(policy, ranges);
  policy.synced(1, logOf(500, 400), LINK);
  policy.next(1, ranges, 64);
  policy.setDowntimeLimitMs(2);
  policy.next(1, ranges, 64);
  const log = logOf(500, 10);
  log.setRange(64, 336);
  policy.synced(1, log, LINK);
  t.equal(drain(policy, ranges), 346);
});

t.test('classic pre-copy cannot be extended, and says so', async (t) => {
  const policy = new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 300);
  t.equal(policy.extendLive(), false);
  t.equal(policy.endLive(), false);
  t.equal(policy.extended, false);
});

t.test('a limit out of its range is refused by name, and the old one stays', async (t) => {
  const policy = new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 300);
  for (const limit of [-1, 2_000_001, 0.5, Number.NaN])
    t.throws(() => policy.setDowntimeLimitMs(limit), { name: 'SettingError', parameter: 'downtime-limit' });
  t.equal(policy.downtimeLimitMs, 300);
});

t.test('the destination ends with the source for any writes of a guest that calms down', async () => {
  const writes = fc.array(fc.nat(900), { maxLength: 40 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 600 }),
      fc.array(fc.record({ during: writes, after: writes }), { maxLength: 10 }),
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 10 }),
      (pages, busy, maxPages, maxRanges) => {
        // The script is cyclic: enough quiet steps follow that a pass goes by without a write.
        const quiet = Array.from({ length: 3 * pages + 10 }, () => ({ during: [], after: [] }));
        const script = { writes: [...busy, ...quiet], adversary: false, batchMs: [1], maxPages, maxRanges };
        const policy = new PrecopyPolicy({ pages, pageSize: PAGE }, 1);
        const run = migrate(policy, pages, script);
        return run.source.every((version, page) => version === run.destination[page]);
      },
    ),
    { numRuns: 200 },
  );
});

t.test('a pass is in ascending order and within the bounds of the table', async (t) => {
  const policy = new PrecopyPolicy({ pages: 500, pageSize: PAGE }, 0);
  const ranges = new PageRanges(2);
  drain(policy, ranges);
  const log = new PageBitmap(500);
  for (let page = 1; page < 500; page += 3) log.set(page);
  policy.synced(1, log, LINK);
  const sent: number[] = [];
  while (policy.next(1, ranges, 64).kind === 'send') {
    t.ok(ranges.length <= 2);
    sent.push(...listPages(ranges).map(({ page }) => page));
  }
  t.same(
    sent,
    [...sent].sort((a, b) => a - b),
  );
  t.equal(sent.length, log.count());
});
