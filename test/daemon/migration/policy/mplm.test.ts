import t from 'tap';
import {
  DEFAULT_MPLM_SETTINGS,
  MplmPolicy,
  mplmSettings,
  PageBitmap,
  PageRanges,
} from '../../../../daemon/migration/policy/index.js';
import { listPages, migrate } from './harness.js';

const LINK = { bytesPerSecond: 1e8 };
const idle = { writes: [], adversary: false, batchMs: [1], maxPages: 64, maxRanges: 64 };

function policyOf(pages: number, changes: Record<string, unknown> = {}): MplmPolicy {
  return new MplmPolicy({ pages, pageSize: 4096 }, mplmSettings(changes));
}

function logOf(pages: number, written: readonly number[]): PageBitmap {
  const log = new PageBitmap(pages);
  for (const page of written) log.set(page);
  return log;
}

t.test('the live stage of an idle guest ends with its last page, without a sync and without a wait', async (t) => {
  for (const firstnondirty of [true, false]) {
    const run = migrate(policyOf(1000, { firstnondirty }), 1000, idle);
    t.equal(run.livePages, 1000);
    t.equal(run.finalPages, 0);
    t.equal(run.syncs + run.waits, 0);
  }
});

t.test('epoch 0 sends non-dirty pages only, and the next one alternates, non-dirty slots first', async (t) => {
  const pages = 1000;
  const policy = policyOf(pages, { dirtypercents: 30 });
  const ranges = new PageRanges(100);
  t.same(policy.next(0, ranges, 200), { kind: 'send' });
  t.same(listPages(ranges).length, 200);
  t.equal(ranges.dirtyPages, 0);
  t.same(policy.next(3000, ranges, 200), { kind: 'sync' });
  const written = Array.from({ length: 100 }, (_, i) => i);
  t.same(policy.synced(3000, logOf(pages, written), LINK), { newDirtyPages: 100 });

  policy.next(3001, ranges, 70);
  t.same([ranges.nonDirtyPages, ranges.dirtyPages], [70, 0]);
  policy.next(3002, ranges, 30);
  t.same([ranges.nonDirtyPages, ranges.dirtyPages], [0, 30]);
  t.same([ranges.first(0), ranges.count(0), ranges.isDirty(0)], [0, 30, true]);
  policy.next(3003, ranges, 200);
  t.same([ranges.nonDirtyPages, ranges.dirtyPages], [140, 60]);
  t.equal(ranges.length, 2, 'alternation does not cut runs short');
});

t.test('without firstnondirty the first epoch alternates too, with no dirty page to send yet', async (t) => {
  const policy = policyOf(1000, { firstnondirty: false, intervaltime: 1 });
  const ranges = new PageRanges(100);
  policy.next(0, ranges, 75);
  t.same([ranges.nonDirtyPages, ranges.dirtyPages], [75, 0]);
  policy.next(1000, ranges, 75);
  policy.synced(1000, logOf(1000, [10, 500]), LINK);
  policy.next(1001, ranges, 1000);
  // 25 slots of the round are left, then 50 of the dirty cursor, which stands at page 50 after one round's idle slots.
  t.ok(listPages(ranges).find((sent) => sent.page === 500)?.dirty);
});

t.test('a relaxed dirty slot moves one page; a strict one searches on', async (t) => {
  const order = (relaxlivemig: boolean): string[] => {
    const policy = policyOf(400, { firstnondirty: true, relaxlivemig, intervaltime: 1 });
    const ranges = new PageRanges(100);
    policy.next(0, ranges, 10);
    policy.next(1000, ranges, 10);
    policy.synced(1000, logOf(400, [120]), LINK);
    const sent: string[] = [];
    for (let batch = 0; batch < 3; batch++) {
      policy.next(1001, ranges, 50);
      sent.push(`${ranges.nonDirtyPages}n ${ranges.dirtyPages}d`);
    }
    return sent;
  };
  // Strict: page 120 goes in the first round's dirty slots. Relaxed: only in the third round's, where the cursor reaches it.
  t.same(order(false), ['50n 0d', '49n 1d', '50n 0d']);
  t.same(order(true), ['50n 0d', '50n 0d', '49n 1d']);
});

t.test(
  'merging the same log again changes nothing, and a page sent meanwhile comes back only if it is logged',
  async (t) => {
    const pages = 300;
    const policy = policyOf(pages, { intervaltime: 1, relaxlivemig: false });
    const ranges = new PageRanges(10);
    policy.next(0, ranges, 100);
    policy.next(1000, ranges, 1);
    t.same(policy.synced(1000, logOf(pages, [5, 250]), LINK), { newDirtyPages: 2 });
    t.same([policy.nonDirtyPages, policy.dirtyPages, policy.remainingPages], [199, 2, 201]);
    policy.next(2000, ranges, 1);
    t.same(policy.synced(2000, logOf(pages, [5, 250]), LINK), { newDirtyPages: 0 });
    t.same([policy.nonDirtyPages, policy.dirtyPages], [199, 2]);
    policy.next(2001, ranges, 51);
    t.equal(ranges.dirtyPages, 1);
    policy.next(3000, ranges, 1);
    t.same(policy.synced(3000, logOf(pages, [250]), LINK), { newDirtyPages: 0 });
    t.same([policy.nonDirtyPages, policy.dirtyPages], [149, 1]);
  },
);

t.test('steps are repeated until they are answered, and answers to no question are refused', async (t) => {
  const policy = policyOf(200, { intervaltime: 1 });
  const ranges = new PageRanges(10);
  const log = new PageBitmap(200);
  t.throws(() => policy.synced(0, log, LINK), /stage live without having been asked for/);
  policy.next(0, ranges, 10);
  t.same(policy.next(1000, ranges, 10), { kind: 'sync' });
  t.same(policy.next(1000, ranges, 10), { kind: 'sync' });
  t.throws(() => policy.synced(1000, new PageBitmap(201), LINK), RangeError);
  t.throws(() => policy.synced(1000, log, { bytesPerSecond: Number.NaN }), RangeError);
  t.same(policy.next(1000, ranges, 10), { kind: 'sync' }, 'a refused log leaves the question open');
  policy.synced(1000, log, LINK);
  t.throws(() => policy.synced(1000, log, LINK));
  policy.next(1001, ranges, 1000);
  t.same(policy.next(1002, ranges, 10), { kind: 'switchover' });
  t.same(policy.next(1002, ranges, 10), { kind: 'switchover' });
  policy.finalSync(1003, logOf(200, [7, 8, 150]));
  t.throws(() => policy.finalSync(1003, log), /stage final/);
  t.equal(policy.stage, 'final');
  t.same(policy.next(1003, ranges, 2), { kind: 'send' });
  t.same(
    listPages(ranges).map((sent) => sent.page),
    [7, 8],
  );
  t.same(policy.next(1003, ranges, 2), { kind: 'send' });
  t.same(policy.next(1003, ranges, 2), { kind: 'done' });
  t.same(policy.next(1003, ranges, 2), { kind: 'done' });
  t.same([policy.livePagesSent, policy.finalPagesSent, policy.pagesSentTotal], [200, 3, 203]);
  t.throws(() => policy.next(1003, ranges, 0), RangeError);
});

t.test('records tell each epoch: what went, what came, what was left', async (t) => {
  const policy = policyOf(200, { intervaltime: 1 });
  const ranges = new PageRanges(10);
  policy.next(500, ranges, 100);
  t.equal(policy.epoch, 0);
  t.equal(policy.epochStartMs, 500);
  policy.next(1500, ranges, 100);
  policy.synced(1510, logOf(200, [0, 1, 199]), LINK);
  t.equal(policy.epoch, 1);
  policy.next(1520, ranges, 1000);
  policy.next(1600, ranges, 1000);
  policy.finalSync(1610, logOf(200, [1, 2, 199]));
  t.same(policy.records, [
    {
      epoch: 0,
      elapsedMs: 1010,
      dirtyPagesSent: 0,
      nonDirtyPagesSent: 100,
      newDirtyPages: 3,
      nonDirtyPages: 99,
      dirtyPages: 3,
      bytes: 100 * 4096,
    },
    {
      epoch: 1,
      elapsedMs: 100,
      dirtyPagesSent: 2,
      nonDirtyPagesSent: 99,
      newDirtyPages: 2,
      nonDirtyPages: 0,
      dirtyPages: 3,
      bytes: 101 * 4096,
    },
  ]);
});

t.test('an extended live stage sends dirty pages once an epoch and waits in between', async (t) => {
  const policy = policyOf(100, { intervaltime: 2 });
  const ranges = new PageRanges(10);
  t.equal(policy.extendLive(), true);
  policy.next(0, ranges, 100);
  t.same(policy.next(10, ranges, 100), { kind: 'wait', untilMs: 2000 });
  t.same(policy.next(1999, ranges, 100), { kind: 'wait', untilMs: 2000 });
  t.same(policy.next(2000, ranges, 100), { kind: 'sync' });
  policy.synced(2005, logOf(100, [3, 50, 51]), LINK);
  t.same(policy.next(2005, ranges, 100), { kind: 'send' });
  t.same(
    listPages(ranges),
    [3, 50, 51].map((page) => ({ page, dirty: true })),
  );
  t.same(policy.next(2006, ranges, 100), { kind: 'wait', untilMs: 4005 });
  t.equal(policy.endLive(), true);
  t.same(policy.next(2007, ranges, 100), { kind: 'switchover' });
});

t.test('ending an extension does not wait for a sync that was asked for', async (t) => {
  const policy = policyOf(100, { intervaltime: 1 });
  const ranges = new PageRanges(10);
  policy.extendLive();
  policy.next(0, ranges, 100);
  t.same(policy.next(1000, ranges, 100), { kind: 'sync' });
  policy.endLive();
  t.same(policy.next(1001, ranges, 100), { kind: 'switchover' });
});

t.test('ending before the end condition takes the extension back; ending none is refused', async (t) => {
  const policy = policyOf(100);
  const ranges = new PageRanges(10);
  t.equal(policy.endLive(), false);
  t.equal(policy.extendLive(), true);
  t.equal(policy.extended, true);
  policy.next(0, ranges, 50);
  t.equal(policy.endLive(), true);
  t.equal(policy.endLive(), false);
  t.same(policy.next(1, ranges, 50), { kind: 'send' });
  t.same(policy.next(2, ranges, 50), { kind: 'switchover' });
  t.equal(policy.extendLive(), false, 'too late');
  policy.finalSync(3, new PageBitmap(100));
  t.equal(policy.extendLive(), false);
});

t.test('an extension is of one migration only', async (t) => {
  const first = policyOf(100);
  first.extendLive();
  const run = migrate(policyOf(100), 100, idle);
  t.equal(run.waits, 0);
  t.equal(first.extended, true);
});

t.test('the vCPUs may be found stopped at any moment: what is left then goes in the final stage', async (t) => {
  const policy = policyOf(300);
  const ranges = new PageRanges(10);
  policy.next(0, ranges, 100);
  policy.finalSync(1, logOf(300, [50, 250]));
  const sent: number[] = [];
  while (policy.next(2, ranges, 64).kind === 'send') sent.push(...listPages(ranges).map(({ page }) => page));
  t.same(sent, [50, ...Array.from({ length: 200 }, (_, i) => 100 + i)]);
  t.equal(policy.stage, 'done');
});

t.test('the policy of 16 GiB of memory costs little beside the sending, at any share of dirty slots', async (t) => {
  const pages = 4 * 1024 * 1024;
  for (const dirtypercents of [1, 50, 99]) {
    for (const relaxlivemig of [true, false]) {
      const settings = { ...DEFAULT_MPLM_SETTINGS, dirtypercents, relaxlivemig, intervaltime: 1, firstnondirty: false };
      const policy = new MplmPolicy({ pages, pageSize: 4096 }, settings);
      const ranges = new PageRanges(1024);
      const log = new PageBitmap(pages);
      // Nearly all memory is dirty far from the cursors' start, and the rest is sparse: idle slots abound.
      log.setRange(1000, pages - 2000);
      for (let page = 1000; page < pages; page += 5003) log.clear(page);
      policy.next(0, ranges, 64);
      policy.next(1000, ranges, 64);
      const start = performance.now();
      policy.synced(1000, log, LINK);
      let batches = 0;
      let slowest = 0;
      for (;;) {
        const before = performance.now();
        const step = policy.next(1001, ranges, 4096);
        slowest = Math.max(slowest, performance.now() - before);
        if (step.kind !== 'send') break;
        batches++;
      }
      const tookMs = performance.now() - start;
      const perPage = (tookMs * 1e6) / policy.livePagesSent;
      t.comment(
        `d=${dirtypercents} relaxed=${relaxlivemig}: ${policy.livePagesSent} pages in ${batches} batches, ${tookMs.toFixed(1)} ms` +
          ` (${perPage.toFixed(0)} ns a page), slowest batch ${slowest.toFixed(2)} ms`,
      );
      t.ok(tookMs < 3000, `${tookMs} ms`);
    }
  }
});
