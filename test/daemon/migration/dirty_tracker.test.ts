import t from 'tap';
import { DirtyTracker } from '../../../daemon/migration/dirty_tracker.js';
import type { PageBitmap } from '../../../daemon/migration/policy/bitmap.js';
import { FROM_DIRTY, FROM_NON_DIRTY, PageRanges } from '../../../daemon/migration/policy/ranges.js';
import { HOLE_END, HOLE_START, PAGE_SIZE } from '../../../kvm/guest_ram.js';
import { DIRTY_PAGES, GIB, MIB, noKvm, openDescriptors, TinyVm } from '../../helpers/kvm.js';

const skip = noKvm();
const HIGH = HOLE_START / PAGE_SIZE; // RAM page of the guest's 4 GiB

function dirty(tiny: TinyVm, gpa: number, pages: number): void {
  tiny.load(DIRTY_PAGES, { rdi: BigInt(gpa), rcx: BigInt(pages) });
  tiny.runToExit();
}

function pages(bitmap: PageBitmap): number[] {
  const out: number[] = [];
  bitmap.forEachRun((first, count) => {
    for (let i = 0; i < count; i++) out.push(first + i);
  });
  return out;
}

function ranges(...list: [first: number, count: number, origin: number][]): PageRanges {
  const table = new PageRanges(16);
  for (const [first, count, origin] of list) {
    table.data[2 * table.length] = first;
    table.data[2 * table.length + 1] = count;
    table.origins[table.length++] = origin;
    if (origin === FROM_DIRTY) table.dirtyPages += count;
    else table.nonDirtyPages += count;
  }
  return table;
}

t.test(
  'what guest and host write below and above the hole is one bitmap of RAM pages, until it is cleared',
  { skip },
  (t) => {
    using tiny = new TinyVm(3 * GIB + 8 * MIB);
    using tracker = new DirtyTracker(tiny.vm, tiny.ram, tiny.initiallySet);
    t.same(pages(tracker.sync()), [], 'nothing is dirty when tracking begins');
    dirty(tiny, 0x400000, 2);
    dirty(tiny, HOLE_START - PAGE_SIZE, 1);
    dirty(tiny, HOLE_END + 65 * PAGE_SIZE, 2);
    // load() itself wrote the guest's code, at 0x1000: a host write.
    t.same(pages(tracker.sync()), [1, 0x400, 0x401, HIGH - 1, HIGH + 65, HIGH + 66]);
    t.same(
      pages(tracker.sync()),
      [0x400, 0x401, HIGH - 1, HIGH + 65, HIGH + 66],
      'host writes are told once, guest writes stay',
    );

    tracker.clear(ranges([0x400, 1, FROM_DIRTY], [0x401, 1, FROM_NON_DIRTY], [HIGH + 66, 5, FROM_DIRTY]));
    t.same(pages(tracker.sync()), [0x401, HIGH - 1, HIGH + 65], 'only ranges of the dirty set are cleared');
    tracker.clear(ranges([HIGH - 1, 67, FROM_DIRTY]));
    t.same(pages(tracker.sync()), [0x401], 'one range may lie across both slots');
    tracker.clear(ranges([0x401, 1, FROM_NON_DIRTY]));
    t.same(pages(tracker.sync()), [0x401]);

    dirty(tiny, 0x400000, 1);
    dirty(tiny, HOLE_END + 66 * PAGE_SIZE, 1);
    t.same(pages(tracker.sync()), [1, 0x400, 0x401, HIGH + 66], 'what is written again comes again');
    tracker.clear(ranges([0x401, 1, FROM_DIRTY]));
    t.same(pages(tracker.sync()), [0x400, HIGH + 66], 'and a page cleared before is not cleared with its neighbour');
    t.end();
  },
);

t.test('a write between a clear and the next reading is never lost', { skip }, (t) => {
  using tiny = new TinyVm(8 * MIB);
  using tracker = new DirtyTracker(tiny.vm, tiny.ram, tiny.initiallySet);
  for (let i = 0; i < 20; i++) {
    const page = 0x400 + i * 3;
    dirty(tiny, page * PAGE_SIZE, 2);
    t.ok(pages(tracker.sync()).includes(page)) || t.bailout();
    tracker.clear(ranges([page, 2, FROM_DIRTY]));
    dirty(tiny, page * PAGE_SIZE, 1);
    const found = pages(tracker.sync()).filter((p) => p >= page && p < page + 2);
    t.same(found, [page]);
  }
  t.end();
});

t.test('the end of tracking stops the log and the marking; a second one begins with nothing', { skip }, (t) => {
  using tiny = new TinyVm(8 * MIB);
  const before = openDescriptors();
  for (let i = 0; i < 2; i++) {
    const tracker = new DirtyTracker(tiny.vm, tiny.ram, tiny.initiallySet);
    t.same(pages(tracker.sync()), []);
    dirty(tiny, 0x400000, 1);
    t.same(pages(tracker.sync()), [1, 0x400]);
    tracker[Symbol.dispose]();
    tracker[Symbol.dispose]();
    t.throws(() => tiny.vm.getDirtyLog(0, 0), { message: /KVM_GET_DIRTY_LOG failed/ });
    dirty(tiny, 0x500000, 1);
  }
  t.same(openDescriptors(), before);
  t.end();
});
