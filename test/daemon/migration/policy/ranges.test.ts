import t from 'tap';
import { FROM_DIRTY, FROM_NON_DIRTY, PageRanges } from '../../../../daemon/migration/policy/ranges.js';

function list(ranges: PageRanges): [number, number, boolean][] {
  return Array.from({ length: ranges.length }, (_, i) => [ranges.first(i), ranges.count(i), ranges.isDirty(i)]);
}

t.test('a page that follows the last range of its origin extends it, across ranges of the other origin', async (t) => {
  const ranges = new PageRanges(8);
  t.ok(ranges.add(0, 50, FROM_NON_DIRTY));
  t.ok(ranges.add(700, 3, FROM_DIRTY));
  t.ok(ranges.add(50, 50, FROM_NON_DIRTY));
  t.ok(ranges.add(703, 1, FROM_DIRTY));
  t.ok(ranges.add(705, 1, FROM_DIRTY));
  t.same(list(ranges), [
    [0, 100, false],
    [700, 4, true],
    [705, 1, true],
  ]);
  t.equal(ranges.nonDirtyPages, 100);
  t.equal(ranges.dirtyPages, 5);
  t.equal(ranges.pages, 105);
});

t.test('a page before or inside the last range does not extend it', async (t) => {
  const ranges = new PageRanges(3);
  ranges.add(10, 5, FROM_DIRTY);
  ranges.add(0, 1, FROM_DIRTY);
  ranges.add(0, 1, FROM_DIRTY);
  t.equal(ranges.length, 3);
});

t.test('a dirty page next to a non-dirty range stays a range of its own', async (t) => {
  const ranges = new PageRanges(2);
  ranges.add(0, 1, FROM_NON_DIRTY);
  ranges.add(1, 1, FROM_DIRTY);
  t.equal(ranges.length, 2);
});

t.test('a full table refuses a new range, still extends its last ones, and is whole again after a reset', async (t) => {
  const ranges = new PageRanges(1);
  t.ok(ranges.add(4, 1, FROM_DIRTY));
  t.notOk(ranges.add(9, 1, FROM_DIRTY));
  t.notOk(ranges.add(5, 1, FROM_NON_DIRTY));
  t.ok(ranges.add(5, 1, FROM_DIRTY));
  t.same(list(ranges), [[4, 2, true]]);
  ranges.reset();
  t.equal(ranges.pages, 0);
  t.ok(ranges.add(6, 1, FROM_DIRTY));
  t.same(list(ranges), [[6, 1, true]]);
});

t.test('a table without room is refused, and its size is known beforehand', async (t) => {
  t.throws(() => new PageRanges(0), RangeError);
  t.throws(() => new PageRanges(1.5), RangeError);
  const ranges = new PageRanges(1000);
  t.equal(PageRanges.bytesFor(1000), ranges.data.byteLength + ranges.origins.byteLength);
});
