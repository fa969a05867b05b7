import t from 'tap';
import { closeFd, createMemfd, dataExtents, Mapping, punchHole, WINDOW_BYTES } from '../../kvm/memory.js';
import { GIB, MIB, openDescriptors } from '../helpers/kvm.js';

t.test('a view must lie inside one window of 1 GiB and inside the mapping', (t) => {
  const fd = createMemfd('test', 3 * GIB + 100);
  t.teardown(() => closeFd(fd));
  using mapping = Mapping.ofFd(fd, 3 * GIB + 100);
  t.equal(mapping.view(WINDOW_BYTES - 1, 1).length, 1);
  t.equal(mapping.view(3 * GIB, 100).length, 100);
  for (const [offset, length] of [
    [WINDOW_BYTES - 1, 2],
    [3 * GIB, 101],
    [3 * GIB + 101, 0],
    [-1, 1],
    [0, -1],
    [0, WINDOW_BYTES + 1],
  ] as const) {
    t.throws(() => mapping.view(offset, length), RangeError, `${offset}+${length}`);
  }
  t.throws(() => mapping.dataView(), RangeError, 'all of it is more than a window');
  t.equal(mapping.view(5, 5).buffer, mapping.view(9, 1).buffer, 'a window is made once');
  t.end();
});

t.test('two mappings of one memfd share their bytes; anonymous memory is zero and its own', (t) => {
  const fd = createMemfd('test', 2 * MIB);
  t.teardown(() => closeFd(fd));
  using a = Mapping.ofFd(fd, 2 * MIB);
  using b = Mapping.ofFd(fd, MIB, MIB);
  b.view(0, 1)[0] = 77;
  t.equal(a.view(MIB, 1)[0], 77);
  using c = Mapping.anonymous(5000);
  t.ok(c.view(0, 5000).every((byte) => byte === 0));
  t.end();
});

t.test('a mapping is unmapped once, and not used after', (t) => {
  const mapping = Mapping.anonymous(4096);
  const borrowed = Mapping.borrowed(mapping.address, 4096);
  mapping.view(0, 1)[0] = 5;
  t.equal(borrowed.view(0, 1)[0], 5);
  borrowed[Symbol.dispose]();
  t.throws(() => borrowed.view(0, 1), { message: 'this mapping is unmapped' });
  t.equal(mapping.view(0, 1)[0], 5, 'the end of a borrower unmaps nothing');
  mapping[Symbol.dispose]();
  mapping[Symbol.dispose]();
  t.throws(() => mapping.view(0, 1), { message: 'this mapping is unmapped' });
  t.throws(() => mapping.dataView(), { message: 'this mapping is unmapped' });
  t.end();
});

t.test('a punched hole reads as zero and is no data any more', (t) => {
  const fd = createMemfd('test', MIB);
  t.teardown(() => closeFd(fd));
  using mapping = Mapping.ofFd(fd, MIB);
  mapping.view(0x10000, 0x4000).fill(1);
  t.strictSame([...dataExtents(fd, MIB)], [[0x10000, 0x14000]]);
  punchHole(fd, 0x11000, 0x1000);
  t.strictSame(
    [...dataExtents(fd, MIB)],
    [
      [0x10000, 0x11000],
      [0x12000, 0x14000],
    ],
  );
  t.equal(mapping.view(0x11000, 1)[0], 0);
  t.end();
});

t.test('what the kernel refuses is an error that names the call, and leaves nothing open', (t) => {
  const before = openDescriptors();
  t.throws(() => createMemfd('test', -1), {
    syscall: 'ftruncate',
    code: 'EINVAL',
    message: /^guest memory of -1 bytes/,
  });
  t.throws(() => Mapping.anonymous(2 ** 52), { syscall: 'mmap', code: 'ENOMEM' });
  t.throws(() => Mapping.ofFd(9999, 4096), { syscall: 'mmap', code: 'EBADF', message: /fd 9999/ });
  t.throws(() => closeFd(9999), { syscall: 'close', code: 'EBADF' });
  t.strictSame(openDescriptors(), before);
  t.end();
});
