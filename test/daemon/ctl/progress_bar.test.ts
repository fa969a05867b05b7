import t from 'tap';
import { ProgressBar } from '../../../daemon/ctl/progress_bar.js';
import { count, mebibytes, seconds } from '../../../daemon/ctl/units.js';
import type { MigrationInfo } from '../../../schemas/generated/qmp.js';

const MIB = 2 ** 20;

/** An answer of query-migrate with the members that the bar looks at. */
function answer(status: string, timeMs: number, transferred: number, nonDirty: number): MigrationInfo {
  return {
    status,
    'total-time': timeMs,
    ram: { transferred, total: 400 * 4096, 'page-size': 4096 },
    mplm: { epoch: 2, 'non-dirty-pages': nonDirty, 'dirty-pages': 1234 },
  } as unknown as MigrationInfo;
}

function output(isTTY: boolean, columns?: number) {
  const written: string[] = [];
  return { isTTY, columns, written, write: (text: string) => written.push(text) };
}

t.test('on a terminal one line is rewritten, and ended once', async (t) => {
  const out = output(true, 200);
  const bar = new ProgressBar(out);
  bar.show(answer('active', 1000, 100 * MIB, 300), 0);
  bar.show(answer('active', 2000, 300 * MIB, 200), 1);
  bar.end();
  bar.end();
  t.same(out.written, [
    '\r  [####............]  25 %  1.0 s  100 MiB, 100 MiB/s  epoch 2: 1,234 dirty\x1b[K',
    '\r  [########........]  50 %  2.0 s  300 MiB, 130 MiB/s  epoch 2: 1,234 dirty\x1b[K',
    '\n',
  ]);
});

t.test('a line never wraps on a narrow terminal', async (t) => {
  const out = output(true, 20);
  new ProgressBar(out).show(answer('active', 1000, MIB, 300), 0);
  t.equal(out.written[0], '\r  [####............\x1b[K');
});

t.test('elsewhere there is a line a second, and one at the end', async (t) => {
  const out = output(false);
  const bar = new ProgressBar(out);
  for (let ms = 0; ms < 2500; ms += 100) bar.show(answer('active', ms + 1, ms * MIB, 300), ms);
  bar.show(answer('completed', 2500, 2500 * MIB, 0), 2500);
  bar.end();
  t.equal(out.written.length, 4);
  t.equal(out.written[3], '  [################] 100 %  2.5 s  2500 MiB  done\n');
});

t.test('how a migration ended is on the last line, and that of a server without MPLM is by what remains', async (t) => {
  const out = output(false);
  const bar = new ProgressBar(out);
  const ram = { transferred: 50 * MIB, remaining: 150 * 4096, total: 400 * 4096, 'dirty-sync-count': 3 };
  for (const status of ['active', 'cancelled']) bar.show({ status, 'total-time': 1000, ram } as MigrationInfo, 0);
  t.same(out.written, [
    '  [##########......]  62 %  1.0 s  50 MiB, 50 MiB/s  pass 3\n',
    '  [##########......]  62 %  1.0 s  50 MiB  cancelled\n',
  ]);
});

t.test('a migration that has not begun shows nothing', async (t) => {
  const out = output(false);
  new ProgressBar(out).show({ status: 'setup' }, 0);
  t.same(out.written, []);
});

t.test('numbers are written for people', async (t) => {
  t.equal(count(0), '0');
  t.equal(count(123), '123');
  t.equal(count(1234567), '1,234,567');
  t.equal(mebibytes(2.25 * MIB), '2.3 MiB');
  t.equal(mebibytes(100.4 * MIB), '100 MiB');
  t.equal(seconds(1249), '1.2 s');
});
