import { closeSync, fstatSync, openSync } from 'node:fs';
import t from 'tap';
import { FdSets, MAX_SET_FDS } from '../../../daemon/fds/fd_sets.js';
import { MAX_NAMED_FDS, NamedFds } from '../../../daemon/fds/named_fds.js';
import { PassedFds } from '../../../daemon/fds/passed_fds.js';

const open = () => openSync('/dev/null', 'r');

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

t.test(
  'a name holds one fd: the next of that name closes it, taking it hands it over, disposal closes the rest',
  (t) => {
    const fds = new NamedFds();
    const [a, b, c] = [open(), open(), open()];
    fds.add('x', a);
    fds.add('x', b);
    fds.add('', c);
    t.notOk(isOpen(a));
    t.equal(fds.take('x'), b);
    t.equal(fds.take('x'), undefined);
    t.ok(isOpen(b));
    closeSync(b);
    fds[Symbol.dispose]();
    t.notOk(isOpen(c));
    t.end();
  },
);

t.test('what a store refuses it closes, and a flood of names or set members is refused', (t) => {
  const fds = new NamedFds();
  const refused = open();
  t.throws(() => fds.add('1a', refused), { message: "Parameter 'fdname' expects a name not starting with a digit" });
  t.notOk(isOpen(refused));
  t.throws(() => fds.close('nope'), { message: "File descriptor named 'nope' not found" });
  for (let i = 0; i < MAX_NAMED_FDS; i++) fds.add(`n${i}`, open());
  const late = open();
  t.throws(() => fds.add('late', late), { message: `There are ${MAX_NAMED_FDS} file descriptors with names already` });
  t.notOk(isOpen(late));
  const sameName = open();
  fds.add('n0', sameName);
  t.ok(isOpen(sameName), 'one that takes the place of another is no flood');
  fds[Symbol.dispose]();
  const sets = new FdSets();
  for (let i = 0; i < MAX_SET_FDS; i++) sets.add(open(), BigInt(i % 3), undefined);
  const more = open();
  t.throws(() => sets.add(more, undefined, undefined), {
    message: `There are ${MAX_SET_FDS} file descriptors in sets already`,
  });
  t.notOk(isOpen(more));
  sets.clear();
  t.same(sets.query(), []);
  t.end();
});

t.test('sets of fds are numbered and listed as QEMU’s are', (t) => {
  const sets = new FdSets();
  const [a, b, c, d] = [open(), open(), open(), open()];
  t.same(sets.add(a, undefined, undefined), { 'fdset-id': 0n, fd: a });
  t.same(sets.add(b, 5n, 'hello'), { 'fdset-id': 5n, fd: b });
  sets.add(c, 5n, undefined);
  t.same(sets.add(d, undefined, undefined), { 'fdset-id': 1n, fd: d });
  t.same(sets.query(), [
    { 'fdset-id': 5n, fds: [{ fd: b, opaque: 'hello' }, { fd: c }] },
    { 'fdset-id': 1n, fds: [{ fd: d }] },
    { 'fdset-id': 0n, fds: [{ fd: a }] },
  ]);
  t.throws(() => sets.remove(9n, undefined), { message: "File descriptor named 'fdset-id:9' not found" });
  t.throws(() => sets.remove(5n, 9999n), { message: "File descriptor named 'fdset-id:5, fd:9999' not found" });
  t.throws(() => sets.add(open(), -1n, undefined), { message: "Parameter 'fdset-id' expects a non-negative value" });
  sets.remove(5n, BigInt(b));
  sets.remove(0n, undefined);
  t.same([a, b, c, d].map(isOpen), [false, false, true, true]);
  sets.clear();
  t.same([c, d].map(isOpen), [false, false]);
  t.end();
});

t.test(
  'a message’s fds take the place of those that no command took, and a command takes the first of them only',
  (t) => {
    const passed = new PassedFds();
    const [a, b, c] = [open(), open(), open()];
    passed.replace([a]);
    passed.replace([b, c]);
    t.equal(passed.takeFirst(), b);
    t.equal(passed.takeFirst(), undefined);
    t.same([a, b, c].map(isOpen), [false, true, false]);
    closeSync(b);
    t.end();
  },
);
