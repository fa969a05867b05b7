import fc from 'fast-check';
import t from 'tap';
import type { PageBitmap } from '../../../../daemon/migration/policy/bitmap.js';
import { DEFAULT_MPLM_SETTINGS, MplmPolicy, type MplmSettings } from '../../../../daemon/migration/policy/index.js';
import { listPages, migrate, type Script } from './harness.js';
import { NaiveMplm } from './naive_mplm.js';

const PAGE_SIZE = 4096;

const settingsArb: fc.Arbitrary<MplmSettings> = fc
  .record({
    firstnondirty: fc.boolean(),
    intervaltime: fc.integer({ min: 1, max: 3 }),
    relaxlivemig: fc.boolean(),
    dirtypercents: fc.oneof(fc.integer({ min: 1, max: 99 }), fc.constantFrom(1, 2, 50, 98, 99)),
  })
  .map((settings) => ({ ...DEFAULT_MPLM_SETTINGS, ...settings }));

/** Pages written at one moment: some single ones, or a stretch. */
const writesArb = fc.oneof(
  fc.array(fc.nat(2000), { maxLength: 12 }),
  fc
    .tuple(fc.nat(2000), fc.integer({ min: 1, max: 150 }))
    .map(([first, count]) => Array.from({ length: count }, (_, i) => first + i)),
);

const scriptArb = fc.record({
  writes: fc.array(fc.record({ during: writesArb, after: writesArb }), { maxLength: 12 }),
  adversary: fc.boolean(),
  batchMs: fc.array(fc.oneof(fc.nat(40), fc.nat(1500)), { minLength: 1, maxLength: 8 }),
  maxPages: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 400 })),
  maxRanges: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant(1000)),
});

const pagesArb = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 1500 }));

/** An extension that comes and goes at arbitrary steps; it always goes in the end. */
const extensionArb = fc
  .record({ extendAt: fc.nat(60), lasting: fc.nat(200) })
  .map(({ extendAt, lasting }) => ({ extendAt, endAt: extendAt + lasting }));

/** No step of these runs takes longer than a moment, so a run that grows without end fails rather than hangs. */
const RUNS = { numRuns: 300 };

t.test('whatever the guest writes, the live stage ends within N·100/(100−d) pages and the rest within N', async () => {
  fc.assert(
    fc.property(pagesArb, settingsArb, scriptArb, (pages, settings, script) => {
      const policy = new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings);
      const bound = (pages * 100) / (100 - settings.dirtypercents);
      let live = 0;
      let nonDirty = 0;
      const run = migrate(policy, pages, script, (step, ranges) => {
        if (step.kind !== 'send' || policy.stage !== 'live') return;
        live += ranges.pages;
        nonDirty += ranges.nonDirtyPages;
        if (live > bound) throw new Error(`${live} pages sent live, over the bound of ${bound}`);
        if (!settings.relaxlivemig && live > (nonDirty * 100) / (100 - settings.dirtypercents))
          throw new Error(`${live} pages sent live after ${nonDirty} non-dirty ones`);
      });
      return (
        run.livePages === live &&
        run.finalPages <= pages &&
        policy.livePagesSent === run.livePages &&
        policy.finalPagesSent === run.finalPages &&
        policy.pagesSentTotal === run.livePages + run.finalPages &&
        policy.remainingPages === 0
      );
    }),
    RUNS,
  );
});

t.test('the bound is tight: a guest that writes again all that was sent gets its full share of slots', async (t) => {
  const pages = 1000;
  const settings = { ...DEFAULT_MPLM_SETTINGS, firstnondirty: false, relaxlivemig: false, intervaltime: 1 };
  const script: Script = { writes: [], adversary: true, batchMs: [1000], maxPages: 50, maxRanges: 1000 };
  const run = migrate(new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings), pages, script);
  t.ok(run.livePages > 1850 && run.livePages <= 2000, `${run.livePages} pages`);
});

t.test('the destination ends with the source, extended or not', async () => {
  fc.assert(
    fc.property(pagesArb, settingsArb, scriptArb, fc.option(extensionArb), (pages, settings, script, extension) => {
      const policy = new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings);
      const run = migrate(policy, pages, { ...script, ...(extension ?? {}) });
      return run.source.every((version, page) => version === run.destination[page]);
    }),
    RUNS,
  );
});

t.test('no page goes from the non-dirty set twice, and every page goes at least once', async () => {
  fc.assert(
    fc.property(pagesArb, settingsArb, scriptArb, (pages, settings, script) => {
      const run = migrate(new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings), pages, script);
      return run.nonDirtySends.every((times) => times <= 1) && run.destination.every((version) => version > 0);
    }),
    RUNS,
  );
});

t.test('the same inputs give the same migration', async (t) => {
  fc.assert(
    fc.property(pagesArb, settingsArb, scriptArb, (pages, settings, script) => {
      const first = migrate(new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings), pages, script);
      const second = migrate(new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings), pages, script);
      t.strictSame(first.trace, second.trace);
    }),
    { numRuns: 50 },
  );
});

t.test('an extension reads the log once an epoch at most, never spins, and is over when it is ended', async () => {
  fc.assert(
    fc.property(pagesArb, settingsArb, scriptArb, extensionArb, (pages, settings, script, extension) => {
      const policy = new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings);
      let endedAt = -1;
      let steps = 0;
      const run = migrate(policy, pages, { ...script, ...extension }, (step) => {
        if (steps++ >= extension.endAt && policy.nonDirtyPages === 0 && endedAt < 0 && step.kind !== 'send') {
          endedAt = steps;
          if (step.kind !== 'switchover' && step.kind !== 'done')
            throw new Error(`${step.kind} after the extension ended`);
        }
      });
      return run.syncs <= run.elapsedMs / (settings.intervaltime * 1000) + 1 && run.waits <= run.syncs + 1;
    }),
    RUNS,
  );
});

t.test('every step is that of the algorithm walked slot by slot', async (t) => {
  fc.assert(
    fc.property(pagesArb, settingsArb, scriptArb, fc.option(extensionArb), (pages, settings, script, extension) => {
      const policy = new MplmPolicy({ pages, pageSize: PAGE_SIZE }, settings);
      const naive = new NaiveMplm(pages, settings);
      const bits = (log: PageBitmap): boolean[] => Array.from({ length: pages }, (_, page) => log.has(page));
      const order = (sent: { page: number; dirty: boolean }[]): string =>
        sent
          .map((s) => `${s.page}${s.dirty ? 'd' : 'n'}`)
          .sort()
          .join(' ');
      let i = 0;
      migrate(policy, pages, { ...script, ...(extension ?? {}) }, (step, ranges, nowMs, log) => {
        if (policy.stage !== 'live' && step.kind !== 'switchover') return;
        if (i === extension?.extendAt) naive.extended = true;
        if (i === extension?.endAt) naive.extended = false;
        i++;
        const expected = naive.next(nowMs, script.maxPages, script.maxRanges);
        if (step.kind !== expected.kind) t.fail(`${step.kind} where the model does ${expected.kind}`);
        if (step.kind === 'wait' && step.untilMs !== expected.untilMs) t.fail('another moment');
        if (step.kind === 'send' && order(listPages(ranges)) !== order(expected.sent))
          t.equal(order(listPages(ranges)), order(expected.sent));
        if (step.kind === 'sync') naive.synced(nowMs, bits(log));
      });
    }),
    RUNS,
  );
});
