/**
 * A source and a destination of version numbers around a policy: each write to a source page is a new version, a sent page
 * carries its version to the destination. It checks what must hold at every step, and records what happened.
 */
import { PageBitmap } from '../../../../daemon/migration/policy/bitmap.js';
import type { MigrationPolicy, Step } from '../../../../daemon/migration/policy/policy.js';
import { PageRanges } from '../../../../daemon/migration/policy/ranges.js';

/** How the guest, the link and the user behave: everything that a run depends on. */
export interface Script {
  /** Pages written between the clear of a batch's log bits and its copy, and after the copy; one entry a step, cyclic. */
  readonly writes: readonly { readonly during: readonly number[]; readonly after: readonly number[] }[];
  /** Write every page again as soon as it was sent. */
  readonly adversary: boolean;
  /** What a batch takes, cyclic, ms. */
  readonly batchMs: readonly number[];
  readonly maxPages: number;
  readonly maxRanges: number;
  /** extendLive / endLive before the given step. Everything is ended at `lastStep`. */
  readonly extendAt?: number;
  readonly endAt?: number;
}

export interface Run {
  readonly livePages: number;
  readonly finalPages: number;
  readonly nonDirtySends: Uint32Array;
  readonly syncs: number;
  readonly waits: number;
  readonly elapsedMs: number;
  readonly steps: number;
  readonly trace: string[];
  readonly source: Uint32Array;
  readonly destination: Uint32Array;
}

/** Runs a policy to `done`; throws when it does not get there, or does what it must not. */
export function migrate(
  policy: MigrationPolicy,
  pages: number,
  script: Script,
  onStep?: (step: Step, ranges: PageRanges, nowMs: number, log: PageBitmap) => void,
): Run {
  const source = new Uint32Array(pages).fill(1);
  const destination = new Uint32Array(pages);
  const log = new PageBitmap(pages);
  const ranges = new PageRanges(script.maxRanges);
  const nonDirtySends = new Uint32Array(pages);
  const trace: string[] = [];
  let livePages = 0;
  let finalPages = 0;
  let syncs = 0;
  let waits = 0;
  let nowMs = 0;
  const write = (page: number): void => {
    source[page % pages]!++;
    log.set(page % pages);
  };

  const maxSteps = 1000 * (pages + 10);
  for (let i = 0; i < maxSteps; i++) {
    if (i === script.extendAt) policy.extendLive();
    if (i === script.endAt) policy.endLive();
    const step = policy.next(nowMs, ranges, script.maxPages);
    onStep?.(step, ranges, nowMs, log);
    const writes = script.writes.length > 0 ? script.writes[i % script.writes.length]! : { during: [], after: [] };
    switch (step.kind) {
      case 'send': {
        const live = policy.stage === 'live';
        const sent = listPages(ranges);
        if (sent.length === 0) throw new Error('an empty batch');
        if (sent.length > script.maxPages || ranges.length > script.maxRanges)
          throw new Error('a batch over its bound');
        if (new Set(sent.map((s) => s.page)).size !== sent.length) throw new Error('a page twice in a batch');
        if (live) for (const { page, dirty } of sent) if (dirty) log.clear(page);
        if (live) writes.during.forEach(write);
        for (const { page, dirty } of sent) {
          destination[page] = source[page]!;
          if (!dirty) nonDirtySends[page]!++;
        }
        if (live) writes.after.forEach(write);
        if (live && script.adversary) for (const { page } of sent) write(page);
        if (live) livePages += sent.length;
        else finalPages += sent.length;
        nowMs += script.batchMs[i % script.batchMs.length]!;
        trace.push(sent.map((s) => `${s.page}${s.dirty ? 'd' : 'n'}`).join(' '));
        break;
      }
      case 'sync':
        syncs++;
        policy.synced(nowMs, log, { bytesPerSecond: 1e6 });
        trace.push('sync');
        break;
      case 'wait':
        waits++;
        if (!(step.untilMs > nowMs)) throw new Error(`a wait until ${step.untilMs}, which is not after ${nowMs}`);
        nowMs = step.untilMs;
        writes.after.forEach(write);
        trace.push('wait');
        break;
      case 'switchover':
        policy.finalSync(nowMs, log);
        trace.push('switchover');
        break;
      case 'done':
        return {
          livePages,
          finalPages,
          nonDirtySends,
          syncs,
          waits,
          elapsedMs: nowMs,
          steps: i + 1,
          trace,
          source,
          destination,
        };
    }
  }
  throw new Error(`not done after ${maxSteps} steps`);
}

/** The pages of a table, one by one. */
export function listPages(ranges: PageRanges): { page: number; dirty: boolean }[] {
  const list: { page: number; dirty: boolean }[] = [];
  for (let i = 0; i < ranges.length; i++)
    for (let k = 0; k < ranges.count(i); k++) list.push({ page: ranges.first(i) + k, dirty: ranges.isDirty(i) });
  return list;
}
