import t from 'tap';
import type { DirtyRateInfo } from '../../../schemas/generated/qmp.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';

const skip = noKvm();
const UNSTARTED = { status: 'unstarted', 'sample-pages': 0, mode: 'page-sampling', 'start-time': 0, 'calc-time': 0 };

/** The measurement's result: asked for until it is there. */
async function measured({ qmp }: TestDaemon): Promise<DirtyRateInfo> {
  for (;;) {
    const info = await qmp.execute('query-dirty-rate');
    if (info.status !== 'measuring') return info;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** MiB a second that the guest says it dirties, from one heartbeat to another around `action`. */
async function rateDuring<T>(daemon: TestDaemon, action: () => Promise<T>): Promise<{ result: T; told: number }> {
  const beat = async () => {
    const line = await daemon.nextLine(/^HB \d+ passes=\d+ dirtied=(\d+) ms=(\d+)/);
    return { pages: Number(line[1]), ms: Number(line[2]) };
  };
  const before = await beat();
  const result = await action();
  const after = await beat();
  return { result, told: (((after.pages - before.pages) / 256) * 1000) / (after.ms - before.ms) };
}

t.test('both modes measure what a guest dirties that says so itself', { skip }, async (t) => {
  const daemon = await TestDaemon.source(t, 'fill=56 ws=40 rate=5000 hb=50');
  for (const args of [{ mode: 'dirty-bitmap' }, { 'sample-pages': 16384 }] as const) {
    const { result, told } = await rateDuring(daemon, async () => {
      await daemon.qmp.execute('calc-dirty-rate', { 'calc-time': 1, ...args });
      const { status, mode } = await daemon.qmp.execute('query-dirty-rate');
      t.same([status, mode], ['measuring', args.mode ?? 'page-sampling']);
      const busy = daemon.qmp.execute('calc-dirty-rate', { 'calc-time': 1 });
      await t.rejects(busy, { message: 'the dirty rate is already being measured.' });
      return measured(daemon);
    });
    const rate = Number(result['dirty-rate']);
    t.ok(rate > told * 0.6 && rate < told * 1.4, `${result.mode}: ${rate} MiB/s, of ${told.toFixed(1)}`);
    t.match(result, { status: 'measured', 'calc-time': 1, 'sample-pages': args['sample-pages'] ?? 0 });
  }
  await daemon.qmp.execute('stop');
  await daemon.qmp.execute('calc-dirty-rate', { 'calc-time': 1, mode: 'dirty-bitmap' });
  t.match(await measured(daemon), { 'dirty-rate': 0 }, 'a paused guest dirties nothing');
});

t.test('what cannot be measured is refused in QEMU’s words', { skip }, async (t) => {
  const { qmp } = await TestDaemon.start(t, { more: ['-S'] });
  const calc = (args: object) => qmp.execute('calc-dirty-rate', { 'calc-time': 1, ...args });
  for (const [args, message] of [
    [{ 'calc-time': 0 }, 'calc-time is out of range[1, 60].'],
    [{ 'calc-time': 61, mode: 'dirty-ring' }, 'calc-time is out of range[1, 60].'],
    [{ 'sample-pages': 1 }, 'sample-pages is out of range[128, 16384].'],
    [{ 'sample-pages': -1, mode: 'dirty-bitmap' }, 'sample-pages is out of range[128, 16384].'],
    [{ 'sample-pages': 1, mode: 'dirty-ring' }, 'either sample-pages or dirty-ring can be specified.'],
    [{ mode: 'dirty-ring' }, 'mode dirty-ring is not enabled, use other method instead.'],
  ] as const) {
    await t.rejects(calc(args), { message }, message);
  }
  t.same(await qmp.execute('query-dirty-rate'), UNSTARTED);
});

t.test('a migration takes the log of dirty pages over, and keeps it', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=32 ws=8 rate=2000');
  const { daemon: destination, uri } = await TestDaemon.destination(t);
  await source.qmp.execute('calc-dirty-rate', { 'calc-time': 60, mode: 'dirty-bitmap' });
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 20 });
  await source.qmp.execute('migrate', { uri });
  await source.event('MIGRATION', ({ data }) => data.status === 'active');
  t.match(await source.qmp.execute('query-dirty-rate'), { status: 'unstarted', mode: 'dirty-bitmap' });
  await t.rejects(source.qmp.execute('calc-dirty-rate', { 'calc-time': 1, mode: 'dirty-bitmap' }), {
    message: 'mode dirty-bitmap needs the log of dirty pages, which the running migration uses.',
  });
  await source.qmp.execute('calc-dirty-rate', { 'calc-time': 1 });
  t.match(await measured(source), { status: 'measured' }, 'samples do not need it');
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  await source.event('MIGRATION', ({ data }) => data.status === 'completed');
  await destination.nextLine(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('the daemon ends while it measures', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t);
  await daemon.qmp.execute('calc-dirty-rate', { 'calc-time': 60 });
  await daemon.qmp.execute('quit');
  t.same(await daemon.exited, { code: 0, signal: null });
});

t.test('a machine without memory is measured too', async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-machine', 'none'] });
  await daemon.qmp.execute('calc-dirty-rate', { 'calc-time': 1 });
  t.match(await measured(daemon), { status: 'measured', 'dirty-rate': -1, 'sample-pages': 512 });
});
