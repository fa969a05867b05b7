/**
 * A policy against a modelled guest and link, in simulated time: what a migration would take, without a VM. It does an
 * engine's duties (policy.ts) in the engine's order, with these simplifications: a batch takes the time of its bytes, reading
 * the log takes `syncMs`, and the guest writes what it writes in that time after the batch's log bits were cleared.
 */
import { PageBitmap } from './bitmap.js';
import type { EpochRecord } from './epochs.js';
import type { MigrationPolicy } from './policy.js';
import { PageRanges } from './ranges.js';
import type { GuestPages } from './staged_policy.js';

export interface SimulatedGuest {
  /** Calls `write(page)` for the pages that the guest writes within the `elapsedMs` that follow, at least once each. */
  run(elapsedMs: number, write: (page: number) => void): void;
}

export interface SimulatedLink {
  readonly bytesPerSecond: number;
}

export interface SimulationOptions {
  readonly guest: SimulatedGuest;
  readonly link: SimulatedLink;
  /** The most pages and ranges of a batch (default 1024 and 1024). */
  readonly maxPages?: number;
  readonly maxRanges?: number;
  /** What a sync takes (default 0). */
  readonly syncMs?: number;
  /** Gives up when the live stage lasts longer than this. */
  readonly maxLiveMs: number;
  /** What the user does: each `act` is called once, at the first step not before `atMs`. Sorted by time. */
  readonly commands?: readonly { readonly atMs: number; readonly act: (policy: MigrationPolicy) => void }[];
}

export interface SimulationResult {
  /** false: the live stage went on beyond `maxLiveMs`. */
  readonly completed: boolean;
  readonly liveMs: number;
  readonly downtimeMs: number;
  readonly livePagesSent: number;
  readonly finalPagesSent: number;
  readonly batches: number;
  readonly syncs: number;
  readonly waits: number;
  readonly records: readonly EpochRecord[];
}

/** Runs a new policy object to its end, or to `maxLiveMs`. */
export function simulate(policy: MigrationPolicy, memory: GuestPages, options: SimulationOptions): SimulationResult {
  const { guest, link, maxLiveMs, syncMs = 0, maxPages = 1024, commands = [] } = options;
  const ranges = new PageRanges(options.maxRanges ?? 1024);
  const log = new PageBitmap(memory.pages);
  const write = (page: number): void => log.set(page);
  let nowMs = 0;
  let nextCommand = 0;
  let batches = 0;
  let syncs = 0;
  let waits = 0;

  const result = (completed: boolean, liveMs: number): SimulationResult => ({
    completed,
    liveMs,
    downtimeMs: nowMs - liveMs,
    livePagesSent: policy.livePagesSent,
    finalPagesSent: policy.finalPagesSent,
    batches,
    syncs,
    waits,
    records: policy.records,
  });

  let liveMs = 0;
  while (nowMs <= maxLiveMs || policy.stage === 'final') {
    while (nextCommand < commands.length && commands[nextCommand]!.atMs <= nowMs) commands[nextCommand++]!.act(policy);
    const step = policy.next(nowMs, ranges, maxPages);
    switch (step.kind) {
      case 'send': {
        batches++;
        const tookMs = (ranges.pages * memory.pageSize * 1000) / link.bytesPerSecond;
        if (policy.stage === 'live') {
          for (let i = 0; i < ranges.length; i++)
            if (ranges.isDirty(i)) log.clearRange(ranges.first(i), ranges.count(i));
          guest.run(tookMs, write);
        }
        nowMs += tookMs;
        break;
      }
      case 'sync':
        syncs++;
        guest.run(syncMs, write);
        nowMs += syncMs;
        policy.synced(nowMs, log, link);
        break;
      case 'wait': {
        waits++;
        const untilMs = Math.min(step.untilMs, commands[nextCommand]?.atMs ?? Infinity);
        guest.run(untilMs - nowMs, write);
        nowMs = untilMs;
        break;
      }
      case 'switchover':
        liveMs = nowMs;
        nowMs += syncMs;
        policy.finalSync(nowMs, log);
        break;
      case 'done':
        return result(true, liveMs);
    }
  }
  return result(false, nowMs);
}

/** A guest that writes `pagesPerSecond` pages of a working set, one after the other, round and round. */
export function sweepingGuest(workingSet: { first: number; count: number; pagesPerSecond: number }): SimulatedGuest {
  const { first, count, pagesPerSecond } = workingSet;
  let due = 0;
  let position = 0;
  return {
    run(elapsedMs, write) {
      due += (elapsedMs * pagesPerSecond) / 1000;
      const writes = Math.floor(due);
      due -= writes;
      // More writes than the set has pages touch all of them: that is all the log can tell.
      for (let i = 0; i < Math.min(writes, count); i++) write(first + ((position + i) % count));
      position = (position + writes) % count;
    },
  };
}

/** A guest that writes `pagesPerSecond` pages of a working set in a random order, which is the same for the same seed. */
export function scatteredGuest(
  workingSet: { first: number; count: number; pagesPerSecond: number },
  seed: number,
): SimulatedGuest {
  const { first, count, pagesPerSecond } = workingSet;
  let due = 0;
  let state = seed | 0 || 1;
  return {
    run(elapsedMs, write) {
      due += (elapsedMs * pagesPerSecond) / 1000;
      const writes = Math.floor(due);
      due -= writes;
      for (let i = 0; i < writes; i++) {
        // Marsaglia's xorshift32 (Journal of Statistical Software, volume 8, issue 14).
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        write(first + Math.floor(((state >>> 0) / 2 ** 32) * count));
      }
    },
  };
}
