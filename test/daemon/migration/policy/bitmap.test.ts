import fc from 'fast-check';
import t from 'tap';
import { MAX_PAGES, PageBitmap, popcount32 } from '../../../../daemon/migration/policy/bitmap.js';

/** A bitmap and its model: the same pages in a Set. */
const bitmapArb = fc
  .integer({ min: 1, max: 400 })
  .chain((pages) => fc.tuple(fc.constant(pages), fc.uniqueArray(fc.nat(pages - 1), { maxLength: pages })));

function make(pages: number, members: readonly number[]): PageBitmap {
  const bitmap = new PageBitmap(pages);
  for (const page of members) bitmap.set(page);
  return bitmap;
}

function members(bitmap: PageBitmap): number[] {
  const list: number[] = [];
  for (let page = 0; page < bitmap.pages; page++) if (bitmap.has(page)) list.push(page);
  return list;
}

t.test('page i is bit i & 31 of word i >>> 5, as in the dirty log of a little-endian KVM', async (t) => {
  const bytes = new Uint8Array(16);
  bytes[0] = 0x01; // page 0
  bytes[5] = 0x80; // page 47
  bytes[15] = 0x10; // page 124
  const bitmap = new PageBitmap(128, new Uint32Array(bytes.buffer));
  t.same(members(bitmap), [0, 47, 124]);
  bitmap.set(33);
  t.equal(bytes[4], 0x02, 'the words are a view, not a copy');
});

t.test('popcount counts the one bits of any word', async () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }), (word) => {
      const ones = (word >>> 0).toString(2).replaceAll('0', '').length;
      return popcount32(word) === ones;
    }),
  );
});

t.test('ranges, counts and searches agree with a set of numbers', async (t) => {
  fc.assert(
    fc.property(bitmapArb, fc.nat(400), fc.nat(400), fc.boolean(), ([pages, list], a, b, adding) => {
      const bitmap = make(pages, list);
      const model = new Set(list);
      const first = Math.min(a, b) % (pages + 1);
      const count = Math.min(Math.abs(a - b), pages - first);
      if (adding) bitmap.setRange(first, count);
      else bitmap.clearRange(first, count);
      for (let page = first; page < first + count; page++) {
        if (adding) model.add(page);
        else model.delete(page);
      }
      t.strictSame(
        members(bitmap),
        [...model].sort((x, y) => x - y),
      );
      t.equal(bitmap.count(), model.size);
      t.equal(bitmap.count(first, count), adding ? count : 0);

      const end = first + count;
      const from = Math.min(a, end);
      let set = from;
      while (set < end && !model.has(set)) set++;
      let clear = from;
      while (clear < end && model.has(clear)) clear++;
      t.equal(bitmap.nextSet(from, end), from >= end ? end : set);
      t.equal(bitmap.nextClear(from, end), from >= end ? end : clear);
    }),
  );
});

t.test('runs are maximal, in order, and together are the set', async (t) => {
  fc.assert(
    fc.property(bitmapArb, ([pages, list]) => {
      const bitmap = make(pages, list);
      const seen: number[] = [];
      let before = -1;
      bitmap.forEachRun((first, count) => {
        t.ok(count > 0 && first > before, 'a run touches the one before it');
        before = first + count;
        for (let page = first; page < first + count; page++) seen.push(page);
      });
      t.strictSame(seen, members(bitmap));
    }),
  );
});

t.test('or and andNot are the set operations', async (t) => {
  fc.assert(
    fc.property(bitmapArb, fc.array(fc.nat(399)), ([pages, list], more) => {
      const other = more.filter((page) => page < pages);
      const sum = make(pages, list);
      sum.or(make(pages, other));
      t.strictSame(
        members(sum),
        [...new Set([...list, ...other])].sort((x, y) => x - y),
      );
      sum.andNot(make(pages, other));
      t.strictSame(
        members(sum),
        list.filter((page) => !other.includes(page)).sort((x, y) => x - y),
      );
    }),
  );
});

t.test('bits past the last page are not trusted in foreign words, and never set', async (t) => {
  const words = new Uint32Array(4).fill(0xffffffff);
  const foreign = new PageBitmap(40, words);
  t.equal(foreign.count(), 40);
  t.equal(foreign.nextClear(0), 40);
  t.equal(foreign.has(40), false);
  foreign.clearRange(0, 40);
  t.equal(foreign.nextSet(0), 40);
  t.same([...words], [0, 0xffffff00, 0xffffffff, 0xffffffff]);

  const own = new PageBitmap(40);
  own.or(new PageBitmap(40, new Uint32Array(2).fill(0xffffffff)));
  t.same([...own.words], [0xffffffff, 0xff]);
  own.empty();
  own.fill();
  t.same([...own.words], [0xffffffff, 0xff]);
});

t.test('the last representable pages are reached', async (t) => {
  const pages = 64 * 1024 * 1024;
  const bitmap = new PageBitmap(pages);
  bitmap.set(pages - 1);
  t.equal(bitmap.nextSet(0), pages - 1);
  t.equal(bitmap.count(), 1);
});

t.test('what is outside the bitmap is refused, and nothing is changed', async (t) => {
  const bitmap = new PageBitmap(40);
  t.throws(() => bitmap.set(40), RangeError);
  t.throws(() => bitmap.set(-1), RangeError);
  t.throws(() => bitmap.set(1.5), RangeError);
  t.throws(() => bitmap.clear(40), RangeError);
  t.throws(() => bitmap.setRange(39, 2), /Pages 39 to 41 are outside a bitmap of 40 pages/);
  t.throws(() => bitmap.clearRange(-1, 2), RangeError);
  t.throws(() => bitmap.setRange(Number.NaN, 1), RangeError);
  t.throws(() => bitmap.count(0, 41), RangeError);
  t.throws(() => bitmap.nextSet(0, 41), RangeError);
  t.throws(() => bitmap.nextSet(-1), RangeError);
  t.throws(() => bitmap.or(new PageBitmap(41)), RangeError);
  t.throws(() => bitmap.andNot(new PageBitmap(39)), RangeError);
  t.equal(bitmap.count(), 0);
  t.throws(() => new PageBitmap(0), RangeError);
  t.throws(() => new PageBitmap(MAX_PAGES + 1), RangeError);
  t.throws(() => new PageBitmap(65, new Uint32Array(2)), /needs 3 words, not 2/);
});

t.test('a bitmap has whole 64-bit words, as the kernel copies its log', async (t) => {
  t.equal(PageBitmap.wordsFor(1), 2);
  t.equal(PageBitmap.wordsFor(64), 2);
  t.equal(PageBitmap.wordsFor(65), 4);
});

t.test('operations on all of 16 GiB of guest memory take milliseconds', async (t) => {
  const pages = 4 * 1024 * 1024;
  const a = new PageBitmap(pages);
  const b = new PageBitmap(pages);
  for (let page = 0; page < pages; page += 97) a.set(page);
  b.setRange(pages >> 1, 1000);
  const operations: Record<string, () => void> = {
    count: () => a.count(),
    or: () => a.or(b),
    andNot: () => a.andNot(b),
    fill: () => b.fill(),
    nextClear: () => b.nextClear(0),
    runs: () => a.forEachRun(() => {}),
  };
  for (const [name, run] of Object.entries(operations)) {
    run();
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      run();
      times.push(performance.now() - start);
    }
    const best = Math.min(...times);
    t.comment(`${name}: ${best.toFixed(2)} ms`);
    // A generous bound for a busy machine: what it must catch is work by page rather than by word.
    t.ok(best < 20, `${name} took ${best} ms`);
  }
});
