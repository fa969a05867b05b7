import t from 'tap';
import { HOLE_END, HOLE_START, PAGE_SIZE } from '../../kvm/guest_ram.js';
import { Mapping } from '../../kvm/memory.js';
import { DIRTY_PAGES, GIB, MIB, noKvm, TinyVm } from '../helpers/kvm.js';

const skip = noKvm();

/** A slot's log as KVM gives it, and the clearing of single pages of it. */
class Log implements Disposable {
  readonly #bitmap: Mapping;
  readonly #tiny: TinyVm;
  readonly #slot: number;

  constructor(tiny: TinyVm, slot: number) {
    this.#tiny = tiny;
    this.#slot = slot;
    this.#bitmap = Mapping.anonymous(Math.ceil((tiny.ram.slots[slot]?.byteLength ?? 0) / PAGE_SIZE / 64) * 8);
  }

  /** Pages of the slot that are dirty, of those from `first` on. */
  pages(first = 0, count = 4096): number[] {
    const { vm } = this.#tiny;
    vm.getDirtyLog(this.#slot, this.#bitmap.address);
    const bytes = this.#bitmap.view(0, this.#bitmap.byteLength);
    const end = Math.min(first + count, bytes.length * 8);
    const out: number[] = [];
    for (let p = first; p < end; p++) if (((bytes[p >>> 3] as number) >>> (p & 7)) & 1) out.push(p);
    return out;
  }

  clear(first: number, count: number): void {
    const aligned = first - (first % 64);
    const bytes = this.#bitmap.view(0, this.#bitmap.byteLength).fill(0);
    for (let p = first; p < first + count; p++) bytes[p >>> 3] = (bytes[p >>> 3] as number) | (1 << (p & 7));
    const slotPages = (this.#tiny.ram.slots[this.#slot]?.byteLength ?? 0) / PAGE_SIZE;
    const pages = Math.min(Math.ceil((first + count - aligned) / 64) * 64, slotPages - aligned);
    this.#tiny.vm.clearDirtyLog(this.#slot, aligned, pages, this.#bitmap.address + aligned / 8);
  }

  [Symbol.dispose](): void {
    this.#bitmap[Symbol.dispose]();
  }
}

function dirty(tiny: TinyVm, gpa: number, pages: number, value = 1n): void {
  tiny.load(DIRTY_PAGES, { rdi: BigInt(gpa), rcx: BigInt(pages), rax: value });
  tiny.runToExit();
}

t.test(
  'a guest that writes pages finds its bytes in RAM, and its pages in the log until they are cleared',
  { skip },
  (t) => {
    using tiny = new TinyVm(16 * MIB);
    using log = new Log(tiny, 0);
    tiny.vm.setRam(tiny.ram, true);
    const all = tiny.ram.pages;
    t.strictSame(log.pages().length, tiny.initiallySet ? all : 0, 'the log begins as INITIALLY_SET says');
    log.clear(0, all);
    t.strictSame(log.pages(), [], 'nothing is dirty when nothing runs');

    dirty(tiny, 0x200000, 3, 0x1122334455667788n);
    t.strictSame([...tiny.ram.read(0x202000, 8)], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    t.strictSame(log.pages(), [0x200, 0x201, 0x202]);
    t.strictSame(log.pages(), [0x200, 0x201, 0x202], 'reading the log changes nothing');

    log.clear(0x201, 1);
    t.strictSame(log.pages(), [0x200, 0x202], 'one page is cleared, its neighbours are not');
    dirty(tiny, 0x201000, 1);
    t.strictSame(log.pages(), [0x200, 0x201, 0x202], 'and comes again when it is written again');
    log.clear(0, all);
    dirty(tiny, 0x3ff000, 1);
    t.strictSame(log.pages(), [0x3ff]);

    tiny.vm.setRam(tiny.ram, false);
    t.throws(() => log.pages(), { syscall: 'KVM_GET_DIRTY_LOG', message: /^slot 0: / }, 'a log that is off is refused');
    t.end();
  },
);

t.test('a log that is switched off and on again knows nothing of before', { skip }, (t) => {
  using tiny = new TinyVm(16 * MIB);
  using log = new Log(tiny, 0);
  tiny.vm.setRam(tiny.ram, true);
  log.clear(0, tiny.ram.pages);
  dirty(tiny, 0x200000, 1);
  tiny.vm.setRam(tiny.ram, false);
  dirty(tiny, 0x300000, 1);
  tiny.vm.setRam(tiny.ram, true);
  t.strictSame(log.pages().length, tiny.initiallySet ? tiny.ram.pages : 0);
  log.clear(0, tiny.ram.pages);
  dirty(tiny, 0x400000, 1);
  t.strictSame(log.pages(), [0x400]);
  t.end();
});

t.test('writes of this process are not in the log', { skip }, (t) => {
  using tiny = new TinyVm(16 * MIB);
  using log = new Log(tiny, 0);
  tiny.vm.setRam(tiny.ram, true);
  log.clear(0, tiny.ram.pages);
  tiny.ram.write(0x500000, Uint8Array.of(1));
  t.strictSame(log.pages(), []);
  t.end();
});

t.test('RAM above 4 GiB has a log of its own, numbered from its first page', { skip }, (t) => {
  using tiny = new TinyVm(3 * GIB + 8 * MIB);
  using low = new Log(tiny, 0);
  using high = new Log(tiny, 1);
  tiny.vm.setRam(tiny.ram, true);
  low.clear(0, HOLE_START / PAGE_SIZE);
  high.clear(0, (8 * MIB) / PAGE_SIZE);
  dirty(tiny, HOLE_END + 5 * PAGE_SIZE, 2, 0xabn);
  t.strictSame(high.pages(), [5, 6]);
  t.strictSame(low.pages(), []);
  t.equal(tiny.ram.read(HOLE_END + 6 * PAGE_SIZE, 1)[0], 0xab);
  dirty(tiny, HOLE_START - PAGE_SIZE, 1);
  t.strictSame(
    low.pages(HOLE_START / PAGE_SIZE - 64, 64),
    [HOLE_START / PAGE_SIZE - 1],
    'the last page below the hole',
  );
  t.end();
});

t.test('clearing what is no multiple of 64 pages, or not in the slot, is refused with the slot', { skip }, (t) => {
  using tiny = new TinyVm(16 * MIB);
  using bitmap = Mapping.anonymous(4096);
  tiny.vm.setRam(tiny.ram, true);
  for (const [first, count] of [
    [1, 64],
    [0, 65],
    [4096, 64],
  ] as const) {
    const refused = { syscall: 'KVM_CLEAR_DIRTY_LOG', code: 'EINVAL', message: /^slot 0: / };
    t.throws(() => tiny.vm.clearDirtyLog(0, first, count, bitmap.address), refused as never, `${first}+${count}`);
  }
  t.throws(() => tiny.vm.getDirtyLog(7, bitmap.address), { code: 'ENOENT', message: /^slot 7: / });
  t.end();
});
