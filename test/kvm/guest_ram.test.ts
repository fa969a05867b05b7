import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { GuestRam, HOLE_END, HOLE_START, PAGE_SIZE, ramSlots } from '../../kvm/guest_ram.js';
import { GIB, MIB, openDescriptors } from '../helpers/kvm.js';

const bytes = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

t.test('RAM is one slot up to 3 GiB, and goes on in a second one at 4 GiB', (t) => {
  t.strictSame(ramSlots(512 * MIB), [{ slot: 0, gpa: 0, offset: 0, byteLength: 512 * MIB }]);
  t.strictSame(ramSlots(3 * GIB), [{ slot: 0, gpa: 0, offset: 0, byteLength: 3 * GIB }]);
  t.strictSame(ramSlots(3 * GIB + MIB), [
    { slot: 0, gpa: 0, offset: 0, byteLength: HOLE_START },
    { slot: 1, gpa: HOLE_END, offset: HOLE_START, byteLength: MIB },
  ]);
  t.end();
});

t.test('what is written is read back, across windows of 1 GiB and above the hole', (t) => {
  using ram = GuestRam.create(5 * GIB);
  t.equal(ram.pages, 5 * 262144);
  for (const gpa of [0, 1, PAGE_SIZE - 3, GIB - 5, 2 * GIB - 1, HOLE_START - 10, HOLE_END, 5 * GIB - 4, 6 * GIB - 10]) {
    const data = bytes(10, gpa & 0xff);
    ram.write(gpa, data);
    t.strictSame(ram.read(gpa, 10), data, `at 0x${gpa.toString(16)}`);
  }
  ram.zero(GIB - 5, 7);
  t.strictSame([...ram.read(GIB - 5, 10)].slice(0, 7), new Array(7).fill(0));
  t.strictSame(ram.read(GIB + 2, 3), bytes(10, (GIB - 5) & 0xff).slice(7), 'and not a byte more is zeroed');
  t.end();
});

t.test('an address that is not RAM is refused, wherever it lies', (t) => {
  using ram = GuestRam.create(4 * GIB);
  const last = HOLE_END + GIB;
  for (const [gpa, length] of [
    [HOLE_START, 1],
    [HOLE_START - 1, 2],
    [HOLE_END - 1, 2],
    [last, 1],
    [last - 1, 2],
    [-1, 1],
    [0, -1],
    [Number.NaN, 1],
    [2 ** 53, 1],
  ] as const) {
    const what = `${gpa}+${length}`;
    t.throws(() => ram.read(gpa, length), RangeError, `read ${what}`);
    t.throws(() => ram.zero(gpa, length), RangeError, `zero ${what}`);
    if (length >= 0) t.throws(() => ram.write(gpa, new Uint8Array(length)), RangeError, `write ${what}`);
  }
  t.throws(() => ram.read(0, 2 ** 40), { message: 'guest-physical 0x0+1099511627776 is not RAM' });
  t.strictSame(ram.read(last, 0), new Uint8Array(0), 'nothing may be read at the end');
  t.end();
});

t.test('a file is loaded from any offset, and one that ends early or cannot be read is refused', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-ram-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'file');
  writeFileSync(path, bytes(10000));
  const fd = openSync(path, 'r');
  const unreadable = openSync(path, 'w+');
  writeFileSync(path, bytes(10000));
  const directory = openSync(dir, 'r');
  t.teardown(() => [fd, unreadable, directory].forEach(closeSync));
  using ram = GuestRam.create(2 * GIB);
  ram.loadFile(fd, 3, GIB - 4000, 9000);
  t.strictSame(ram.read(GIB - 4000, 9000), bytes(10000).slice(3, 9003));
  t.throws(() => ram.loadFile(fd, 9000, 0x1000, 1001), {
    message: 'the file ends 1 bytes early while loading to 0x1000',
  });
  t.throws(() => ram.loadFile(directory, 0, 0x1000, 10), { syscall: 'pread', code: 'EISDIR', message: /to 0x1000/ });
  t.throws(() => ram.loadFile(fd, 0, 2 * GIB - 10, 11), RangeError);
  t.end();
});

/** Pages whose bits are set. */
function pagesOf(bitmap: Uint32Array): number[] {
  const pages: number[] = [];
  for (let i = 0; i < bitmap.length * 32; i++) if (((bitmap[i >>> 5] as number) >>> (i & 31)) & 1) pages.push(i);
  return pages;
}

t.test("this process's own writes are tracked while asked for, each page once, in memfd order", (t) => {
  using ram = GuestRam.create(3 * GIB + MIB);
  const take = () => {
    const bitmap = new Uint32Array(Math.ceil(ram.pages / 32));
    ram.takeHostWrites(bitmap);
    return pagesOf(bitmap);
  };
  ram.write(0x5000, bytes(1));
  t.strictSame(take(), [], 'not before it is asked for');
  ram.trackHostWrites(true);
  ram.write(0x7fff, bytes(2));
  ram.zero(31 * PAGE_SIZE, 2 * PAGE_SIZE);
  ram.write(HOLE_END + PAGE_SIZE, bytes(1));
  ram.write(0x9000, new Uint8Array(0));
  t.strictSame(take(), [7, 8, 31, 32, HOLE_START / PAGE_SIZE + 1]);
  t.strictSame(take(), [], 'taken once');
  const bitmap = new Uint32Array(Math.ceil(ram.pages / 32));
  bitmap[0] = 1;
  ram.write(0x1000, bytes(1));
  ram.takeHostWrites(bitmap);
  t.strictSame(pagesOf(bitmap), [0, 1], 'what the bitmap held stays');
  ram.write(0x2000, bytes(1));
  ram.trackHostWrites(true);
  t.strictSame(take(), [], 'starting again forgets');
  ram.trackHostWrites(false);
  ram.write(0x3000, bytes(1));
  t.strictSame(take(), [], 'stopped');
  t.end();
});

t.test('another view of the same RAM sees the same bytes and marks the same pages', (t) => {
  using ram = GuestRam.create(3 * GIB + 2 * MIB);
  const other = GuestRam.attach(structuredClone(ram.handle));
  ram.trackHostWrites(true);
  other.write(HOLE_END, bytes(100));
  t.strictSame(ram.read(HOLE_END, 100), bytes(100));
  const bitmap = new Uint32Array(Math.ceil(ram.pages / 32));
  ram.takeHostWrites(bitmap);
  t.strictSame(pagesOf(bitmap), [HOLE_START / PAGE_SIZE]);
  other[Symbol.dispose]();
  t.strictSame(ram.read(HOLE_END, 100), bytes(100), 'and its end leaves the RAM in place');
  t.end();
});

t.test('what was never touched is a hole, whatever the pattern of writes', (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(255), { maxLength: 30 }), (touched) => {
      using ram = GuestRam.create(MIB);
      for (const page of touched) ram.write(page * PAGE_SIZE + 9, Uint8Array.of(1));
      const found: number[] = [];
      for (const [start, end] of ram.populated()) for (let p = start; p < end; p++) found.push(p);
      assert.deepEqual(
        found,
        touched.toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 30 },
  );
  t.end();
});

t.test('populating gives pages their memory, and only those', (t) => {
  using ram = GuestRam.create(4 * MIB);
  ram.populate(10, 5);
  t.strictSame([...ram.populated()], [[10, 15]]);
  t.throws(() => ram.populate(1020, 5), RangeError, 'never what lies behind the RAM');
  t.end();
});

t.test('RAM that the kernel cannot make is refused, and nothing stays open', (t) => {
  const before = openDescriptors();
  t.throws(() => GuestRam.create(2 ** 62), { name: 'SysError' });
  const ram = GuestRam.create(MIB);
  ram[Symbol.dispose]();
  ram[Symbol.dispose]();
  t.throws(() => ram.read(0, 1), { message: 'this mapping is unmapped' });
  t.strictSame(openDescriptors(), before);
  t.end();
});
