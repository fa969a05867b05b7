/** What users and the guest itself do while a migration runs. */
import t, { type Test } from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { consecutive, ended, frozen, heartbeats, progress, transferred } from '../../helpers/migration.js';

const skip = noKvm();
const MiB = 2 ** 20;
const SLOW = 8 * MiB;

interface Pair {
  source: TestDaemon;
  destination: TestDaemon;
  uri: string;
}

async function pair(t: Test, guest: string): Promise<Pair> {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, guest),
    TestDaemon.destination(t),
  ]);
  return { source, destination, uri };
}

/** Begins a slow migration; resolves in its live stage. */
async function begin({ source, uri }: Pair): Promise<void> {
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': SLOW });
  await source.qmp.execute('migrate', { uri });
  await progress(source, 'pages were sent', (info) => transferred(info) > MiB);
}

/** Lets it go as fast as it can; resolves with its end. */
async function finish({ source }: Pair): ReturnType<typeof ended> {
  const end = ended(source);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
  return end;
}

t.test('a guest that resets itself in the live stage starts anew and still moves whole', { skip }, async (t) => {
  const both = await pair(t, 'fill=32 ws=2 rate=500 hb=50');
  const { source, destination } = both;
  await begin(both);
  const printed = source.lines.length;
  source.type('x');
  const reset = await source.event('RESET');
  t.same(reset.data, { guest: true, reason: 'guest-reset' });
  await source.line(/^FILLED /, { from: printed });
  t.equal(await source.status(), 'running');
  t.match(await source.qmp.execute('query-migrate'), { status: 'active' }, 'the migration goes on');
  const info = await finish(both);
  t.equal(info.status, 'completed', info['error-desc'] ?? '');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok pages=8192/);
});

t.test('`stop` in the live stage: the guest arrives paused', { skip }, async (t) => {
  const both = await pair(t, 'fill=32 ws=2 rate=500 hb=50');
  const { source, destination } = both;
  await begin(both);
  await source.qmp.execute('stop');
  t.match(await source.qmp.execute('query-status'), { status: 'paused', running: false });
  t.equal((await finish(both)).status, 'completed');
  t.equal(await source.status(), 'postmigrate');
  await destination.event('MIGRATION', ({ data }) => data.status === 'completed');
  t.equal(await destination.status(), 'paused');
  await destination.qmp.execute('cont');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('`stop` and `cont` in the live stage: the guest arrives running', { skip }, async (t) => {
  const both = await pair(t, 'fill=32 ws=2 rate=500 hb=50');
  const { source, destination } = both;
  const from = source.events.length;
  await begin(both);
  await source.qmp.execute('stop');
  await source.qmp.execute('cont');
  t.same(
    source.eventNames(from).filter((name) => name === 'STOP' || name === 'RESUME'),
    ['STOP', 'RESUME'],
  );
  await source.nextLine(/^HB /);
  t.equal((await finish(both)).status, 'completed');
  await destination.line(/^HB /);
  t.equal(await destination.status(), 'running');
  t.match(await destination.verify(), /^VERIFY ok/);
  const beats = heartbeats(source, destination);
  t.same(beats, consecutive(beats));
});

t.test('`system_reset` in the live stage: the guest starts anew and still moves whole', { skip }, async (t) => {
  const both = await pair(t, 'fill=32 ws=2 rate=500 hb=50');
  const { source, destination } = both;
  await begin(both);
  const printed = source.lines.length;
  await source.qmp.execute('system_reset');
  t.same((await source.event('RESET')).data, { guest: false, reason: 'host-qmp-system-reset' });
  await source.line(/^FILLED /, { from: printed });
  t.equal((await finish(both)).status, 'completed');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('`quit` in the live stage ends the source at once, and its destination', { skip }, async (t) => {
  const both = await pair(t, 'fill=32 ws=2 rate=500 hb=50');
  const { source, destination } = both;
  await begin(both);
  await source.qmp.execute('quit');
  t.same(await source.exited, { code: 0, signal: null });
  t.equal(source.stderr, '');
  t.same(await destination.exited, { code: 1, signal: null });
  t.match(destination.stderr, /^vmhostd: Migration failed in stage 'live': [^\n]+\n$/);
});

t.test('`quit` at a destination in the live stage leaves the source running', { skip }, async (t) => {
  const both = await pair(t, 'fill=32 ws=2 rate=500 hb=50');
  const { source, destination } = both;
  await begin(both);
  const end = ended(source);
  await destination.qmp.execute('quit');
  t.same(await destination.exited, { code: 0, signal: null });
  t.match(await end, { status: 'failed', 'error-desc': /in stage 'live'/ });
  t.equal(await source.status(), 'running');
});

t.test('a second `migrate` beside a running one is refused, and changes nothing', { skip }, async (t) => {
  const both = await pair(t, 'fill=24 ws=2 rate=500 hb=50');
  const { source, destination, uri } = both;
  await begin(both);
  await t.rejects(source.qmp.execute('migrate', { uri }), { message: "There's a migration process in progress" });
  t.equal((await finish(both)).status, 'completed');
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test(
  'while the guest stands still for the last pages, `cont` and `system_reset` are refused and `stop` holds',
  { skip },
  async (t) => {
    const { source, destination } = await frozen(t, 'stop-and-copy');
    t.equal(await source.status(), 'finish-migrate');
    for (const command of ['cont', 'system_reset'] as const) {
      await t.rejects(source.qmp.execute(command), { message: 'Migration is not finalized yet' });
    }
    await source.qmp.execute('stop');
    const end = ended(source);
    destination.kill('SIGKILL');
    t.equal((await end).status, 'failed');
    t.match(await source.qmp.execute('query-status'), { status: 'paused', running: false }, 'as the user wants it');
    await source.qmp.execute('cont');
    await source.nextLine(/^HB /);
  },
);
