import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, createReadStream, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { QmpClient } from '../../../client/qmp_client.js';
import { PAGE_BYTES, PROGRESS_GPA, patternWord, readProgress } from '../../guest/pattern.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';

const skip = noKvm();
const MIB = 2 ** 20;
/** The first instruction of the firmware that a machine without one gets. */
const CLI = 0xfa;

t.test('pmemsave writes what the guest has in its memory, and what it never touched as holes', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { guest: 'fill=8' });
  await daemon.line(/^HB 1 /);
  const filename = join(daemon.dir, 'ram');
  await daemon.qmp.execute('pmemsave', { val: 0, size: 64 * MIB, filename });
  const ram = readFileSync(filename);
  t.equal(ram.length, 64 * MIB);
  t.ok(statSync(filename).blocks * 512 < 32 * MIB, 'the file takes up little more than what was filled');
  const progress = readProgress(ram.subarray(PROGRESS_GPA, PROGRESS_GPA + PAGE_BYTES));
  const [{ gpa, pages } = { gpa: 0, pages: 0 }] = progress?.segments ?? [];
  t.equal(pages, (8 * MIB) / PAGE_BYTES);
  const wrong = Array.from({ length: pages }, (_, i) => gpa + i * PAGE_BYTES).filter(
    (at) => ram.readBigUInt64LE(at + 8) !== patternWord(at / PAGE_BYTES, 0, 1),
  );
  t.same(wrong, [], 'every filled page is the one that the guest wrote');
  await daemon.qmp.execute('pmemsave', { val: 64 * MIB - 16, size: 32, filename });
  t.same(readFileSync(filename), Buffer.alloc(32), 'behind the end of RAM there are zeros');
  await daemon.qmp.execute('pmemsave', { val: 2 ** 32 - 16, size: 16, filename });
  t.equal(readFileSync(filename)[0], CLI, 'the reset vector is the firmware’s');
});

t.test(
  'memsave goes by the page tables of a running vCPU, up to the first address that they do not map',
  { skip },
  async (t) => {
    const daemon = await TestDaemon.source(t, 'fill=8');
    const [virtual, physical] = [join(daemon.dir, 'virtual'), join(daemon.dir, 'physical')];
    const code = { val: MIB, size: 0x10001 };
    await daemon.qmp.execute('memsave', { ...code, filename: virtual });
    await daemon.qmp.execute('pmemsave', { ...code, filename: physical });
    t.same(readFileSync(virtual), readFileSync(physical), 'the guest maps its first GiB to itself');
    const past = { val: 64 * MIB - 8192, size: 16384, filename: virtual };
    await t.rejects(daemon.qmp.execute('memsave', past), {
      message: 'Invalid addr 0x0000000003ffe000/size 16384 specified',
    });
    t.equal(statSync(virtual).size, 8192, 'what there was of it is in the file');
    for (const [val, hex] of [
      [2 ** 31, '0000000080000000'],
      [-1, 'ffffffffffffffff'],
      [2 ** 50, '0004000000000000'],
    ] as const) {
      await t.rejects(daemon.qmp.execute('memsave', { val, size: 1, filename: virtual }), {
        message: `Invalid addr 0x${hex}/size 1 specified`,
      });
    }
    const from = daemon.lines.length;
    await daemon.nextLine(/^HB /);
    t.notMatch(daemon.lines.slice(from).join('\n'), /back=[1-9]/, 'the guest goes on as before');
  },
);

t.test('what cannot be saved is refused in QEMU’s words', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t);
  const { qmp, dir } = daemon;
  const memsave = (args: object) => qmp.execute('memsave', { val: 0, size: 8192, filename: join(dir, 'x'), ...args });
  for (const [args, message] of [
    [{ 'cpu-index': 1 }, "Parameter 'cpu-index' expects a CPU number"],
    [{ 'cpu-index': -1 }, "Parameter 'cpu-index' expects a CPU number"],
    [{ filename: join(dir, 'no/x') }, `Could not open '${dir}/no/x': No such file or directory`],
    [{ filename: dir }, `Could not open '${dir}': Is a directory`],
    [{ filename: '/dev/full' }, 'An IO error has occurred'],
    [{ size: -1 }, "Parameter 'size' expects a value of at least 0"],
  ] as const) {
    await t.rejects(memsave(args), { message }, message);
  }
  const pmemsave = (args: object) => qmp.execute('pmemsave', { val: 0, size: 8192, filename: join(dir, 'x'), ...args });
  await t.rejects(pmemsave({ filename: '/dev/full' }), { message: 'An IO error has occurred' });
  await t.rejects(pmemsave({ size: 2n ** 62n }), { message: 'An IO error has occurred' }, 'no file is that large');
  await pmemsave({ size: 0 });
  t.equal(statSync(join(dir, 'x')).size, 0);
});

t.test(
  'a pipe whose reader takes nothing holds up neither other clients nor the end of the daemon',
  { skip },
  async (t) => {
    const daemon = await TestDaemon.start(t);
    const fifo = join(daemon.dir, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const saving = { val: 0, size: 8 * MIB, filename: fifo };
    await t.rejects(
      daemon.qmp.execute('pmemsave', saving),
      { message: /No such device or address$/ },
      'nobody reads it',
    );
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    // It takes one buffer full and no more.
    const reading = createReadStream(fifo, { highWaterMark: PAGE_BYTES });
    const refused = t.rejects(daemon.qmp.execute('pmemsave', saving));
    const other = await QmpClient.connect(`unix:${join(daemon.dir, 'qmp')}`);
    t.teardown(() => other.close());
    t.equal((await other.execute('query-status')).status, 'running');
    await once(reading, 'readable');
    await other.execute('quit');
    t.same(await daemon.exited, { code: 0, signal: null });
    await refused;
    reading.destroy();
    closeSync(reader);
  },
);
