import t from 'tap';
import { EpochBook, KEPT_FIRST, KEPT_RECORDS } from '../../../../daemon/migration/policy/epochs.js';

const SETS = { newDirtyPages: 7, nonDirtyPages: 20, dirtyPages: 30 };

t.test('a record holds what its epoch alone sent, and the sets after its log', async (t) => {
  const book = new EpochBook(4096);
  book.open(1000);
  book.sent(10, 2);
  book.sent(5, 0);
  book.close(4000, SETS);
  book.open(4000);
  book.sent(1, 1);
  book.close(4500, SETS);
  t.same(book.records, [
    { epoch: 0, elapsedMs: 3000, dirtyPagesSent: 2, nonDirtyPagesSent: 15, bytes: 17 * 4096, ...SETS },
    { epoch: 1, elapsedMs: 500, dirtyPagesSent: 1, nonDirtyPagesSent: 1, bytes: 2 * 4096, ...SETS },
  ]);
  t.equal(book.nonDirtyPagesSentTotal, 16);
  t.equal(book.dirtyPagesSentTotal, 3);
});

t.test('an endless live stage keeps its first and its latest records, in order, and no more', async (t) => {
  const book = new EpochBook(4096);
  for (let i = 0; i < 10_000; i++) {
    book.open(i);
    book.close(i + 1, SETS);
  }
  const kept = book.records.map((record) => record.epoch);
  t.equal(kept.length, KEPT_RECORDS);
  t.same(
    kept.slice(0, KEPT_FIRST),
    Array.from({ length: KEPT_FIRST }, (_, i) => i),
  );
  t.same(
    kept.slice(KEPT_FIRST),
    Array.from({ length: KEPT_RECORDS - KEPT_FIRST }, (_, i) => 10_000 - (KEPT_RECORDS - KEPT_FIRST) + i),
  );
  t.equal(book.closed, 10_000);
});
