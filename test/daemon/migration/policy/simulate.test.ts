import t from 'tap';
import { type GuestPages, MplmPolicy, mplmSettings, PrecopyPolicy } from '../../../../daemon/migration/policy/index.js';
import { scatteredGuest, simulate, sweepingGuest } from '../../../../daemon/migration/policy/simulate.js';

const PAGE = 4096;
/** 1 Gbit/s: about 30,500 pages a second. */
const LINK = { bytesPerSecond: 125e6 };
const HOUR_MS = 3_600_000;

function mplm(memory: GuestPages, changes: Record<string, unknown> = {}): MplmPolicy {
  return new MplmPolicy(memory, mplmSettings(changes));
}

t.test(
  'a guest that dirties memory faster than the link: MPLM ends, classic pre-copy at 300 ms does not',
  async (t) => {
    const memory = { pages: 262_144, pageSize: PAGE }; // 1 GiB
    const busy = { first: 20_000, count: 150_000, pagesPerSecond: 40_000 };
    const precopy = simulate(new PrecopyPolicy(memory, 300), memory, {
      guest: sweepingGuest(busy),
      link: LINK,
      maxLiveMs: 600_000,
    });
    t.equal(precopy.completed, false);
    t.ok(precopy.livePagesSent > 10 * memory.pages, `${precopy.livePagesSent} pages in 600 s`);

    for (const changes of [{}, { relaxlivemig: false }, { firstnondirty: false }, { dirtypercents: 90 }]) {
      const policy = mplm(memory, changes);
      const run = simulate(policy, memory, { guest: sweepingGuest(busy), link: LINK, maxLiveMs: HOUR_MS });
      const bound = (memory.pages * 100) / (100 - policy.settings.dirtypercents);
      t.equal(run.completed, true);
      t.ok(run.livePagesSent <= bound, `${run.livePagesSent} of ${bound} pages`);
      t.ok(run.finalPagesSent <= busy.count, 'no more than the working set is left');
      t.ok(Math.abs(run.downtimeMs - (run.finalPagesSent * PAGE * 1000) / LINK.bytesPerSecond) < 1);
    }
  },
);

t.test('a guest calmer than the link: both end, classic pre-copy within its limit', async (t) => {
  const memory = { pages: 131_072, pageSize: PAGE };
  const calm = { first: 0, count: 100_000, pagesPerSecond: 5_000 };
  for (const policy of [new PrecopyPolicy(memory, 300), mplm(memory)]) {
    const run = simulate(policy, memory, { guest: scatteredGuest(calm, 1), link: LINK, maxLiveMs: HOUR_MS, syncMs: 1 });
    t.equal(run.completed, true, policy.kind);
    if (policy.kind === 'precopy') t.ok(run.downtimeMs <= 301, `${run.downtimeMs} ms`);
  }
});

t.test('an extension lets a guest calm down before it is stopped, at one sync an epoch', async (t) => {
  const memory = { pages: 131_072, pageSize: PAGE };
  const busy = sweepingGuest({ first: 0, count: 60_000, pagesPerSecond: 40_000 });
  let elapsed = 0;
  const calming = {
    run(elapsedMs: number, write: (page: number) => void): void {
      elapsed += elapsedMs;
      if (elapsed < 20_000) busy.run(elapsedMs, write);
    },
  };
  const run = simulate(mplm(memory), memory, {
    guest: calming,
    link: LINK,
    maxLiveMs: HOUR_MS,
    commands: [
      { atMs: 0, act: (policy) => t.equal(policy.extendLive(), true) },
      { atMs: 40_000, act: (policy) => t.equal(policy.endLive(), true) },
    ],
  });
  t.equal(run.completed, true);
  t.equal(run.liveMs, 40_000, 'ended at once, in the middle of a wait');
  t.equal(run.finalPagesSent, 0);
  t.ok(run.syncs <= 40_000 / 3000 + 1, `${run.syncs} syncs`);
  t.ok(run.waits <= run.syncs + 2, `${run.waits} waits`);
});

t.test('the same seed gives the same migration, another seed another one', async (t) => {
  const memory = { pages: 65_536, pageSize: PAGE };
  const of = (seed: number) =>
    simulate(mplm(memory), memory, {
      guest: scatteredGuest({ first: 0, count: 60_000, pagesPerSecond: 30_000 }, seed),
      link: LINK,
      maxLiveMs: HOUR_MS,
    });
  t.same(of(7), of(7));
  t.not(of(7).finalPagesSent, of(8).finalPagesSent);
});
