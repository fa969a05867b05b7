/** The bounds that a user sets: bytes held, and bytes a second. */
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ended, extendedAndWaiting, migrate, mplm, progress, transferred } from '../../helpers/migration.js';
import { FakeDestination } from '../../helpers/stream_peer.js';

const skip = noKvm();
const MiB = 2 ** 20;

/** Why the kernel's socket memory cannot be seen, or false. */
function noSs(): string | false {
  try {
    execFileSync('ss', ['-V'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'ss (iproute2) is not installed';
  }
}

/** Bytes of kernel memory in the buffers of the established TCP sockets that process `pid` has with `port`, both ways. */
function socketMemory(pid: number, port: number): number {
  const rows = execFileSync('ss', ['-tmnpOH', `sport = :${port} or dport = :${port}`], { encoding: 'utf8' });
  let bytes = 0;
  for (const row of rows.split('\n')) {
    if (!row.startsWith('ESTAB') || !row.includes(`pid=${pid},`)) continue;
    // skmem: r and w are what is queued each way, f what is set aside, o options, bl the backlog. ss(8).
    const found = /skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+),o\d+,bl(\d+)/.exec(row);
    if (found) bytes += found.slice(1).reduce((sum, figure) => sum + Number(figure), 0);
  }
  return bytes;
}

for (const bound of [MiB, 4 * MiB]) {
  t.test(
    `with max-buffer-bytes ${bound}, a receiver that reads nothing makes neither side hold more`,
    {
      skip: skip || noSs(),
    },
    async (t) => {
      const [source, { daemon: destination, uri }] = await Promise.all([
        TestDaemon.source(t, 'fill=40 ws=8 rate=4000 hb=50'),
        TestDaemon.destination(t, { uri: 'tcp:127.0.0.1:0' }),
      ]);
      const port = Number(uri.split(':').at(-1));
      await source.qmp.execute('set-mplm-migration', { enable: true, intervaltime: 1 });
      await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 8 * MiB });
      const end = ended(source);
      await source.qmp.execute('migrate', { uri, 'max-buffer-bytes': bound });
      await progress(source, 'pages were sent', (info) => transferred(info) > MiB);
      destination.kill('SIGSTOP');
      await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
      // The buffers are full once their memory has not grown over many looks.
      const most = { source: 0, destination: 0 };
      for (let looks = 0; looks < 20; looks++) {
        const now = { source: socketMemory(source.pid, port), destination: socketMemory(destination.pid, port) };
        if (now.source > most.source || now.destination > most.destination) looks = 0;
        most.source = Math.max(most.source, now.source);
        most.destination = Math.max(most.destination, now.destination);
      }
      const buffer = mplm(await source.qmp.execute('query-migrate')).buffer;
      t.equal(buffer.bound, bound);
      t.ok(buffer['in-use'] <= buffer.peak && buffer.peak <= bound, JSON.stringify(buffer));
      t.ok(most.source > 0 && most.destination > 0, 'both sides hold something');
      t.ok(most.source <= buffer['in-use'], `the source's socket holds ${most.source} of ${buffer['in-use']} counted`);
      t.ok(most.destination <= bound, `the destination's socket holds ${most.destination}`);

      destination.kill('SIGCONT');
      const info = await end;
      t.equal(info.status, 'completed', info['error-desc'] ?? '');
      t.ok(mplm(info).buffer.peak <= bound, `peak ${mplm(info).buffer.peak}`);
      t.equal(mplm(info).buffer['in-use'], 0, 'all is given back');
      await destination.line(/^HB /);
      t.match(await destination.verify(), /^VERIFY ok/);
    },
  );
}

t.test(
  'max-bandwidth holds for the live stage within a fifth, and can be changed while it runs',
  { skip },
  async (t) => {
    const source = await TestDaemon.source(t, 'fill=60 rate=0 hb=1000', { memory: 96 });
    const fake = await FakeDestination.listen(t, 'tcp');
    const rate = async (bytes: number): Promise<number> => {
      const at = async (sent: number) => {
        const info = await progress(source, `${sent} bytes`, (now) => transferred(now) >= sent);
        return { ms: performance.now(), sent: transferred(info) };
      };
      const begin = await at(transferred(await source.qmp.execute('query-migrate')) + MiB);
      const end = await at(begin.sent + bytes);
      return ((end.sent - begin.sent) * 1000) / (end.ms - begin.ms);
    };
    await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 8 * MiB });
    await source.qmp.execute('migrate', { uri: fake.uri });
    const peer = await fake.accepted();
    void (async () => {
      for (;;) await peer.frame();
    })().catch(() => undefined); // until the test ends
    for (const [limit, bytes] of [
      [8 * MiB, 8 * MiB],
      [24 * MiB, 20 * MiB],
      [4 * MiB, 4 * MiB],
    ] as const) {
      await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': limit });
      const measured = await rate(bytes);
      t.ok(Math.abs(measured - limit) < limit / 5, `${(measured / MiB).toFixed(1)} MiB/s at ${limit / MiB}`);
    }
  },
);

t.test('max-bandwidth does not hold back the last pages, while the guest stands still', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=40 ws=40 rate=max hb=50'),
    TestDaemon.destination(t),
  ]);
  await extendedAndWaiting(source, uri);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 4 * MiB });
  const end = ended(source);
  await source.qmp.execute('set-mplm-end-live');
  const info = await end;
  t.equal(info.status, 'completed', info['error-desc'] ?? '');
  const bytes = Number(info.ram?.['downtime-bytes']);
  t.ok(bytes > 20 * MiB, `${bytes} bytes were left for the end`);
  t.ok((info.downtime ?? Number.POSITIVE_INFINITY) < 2500, `${info.downtime} ms of the 5 s and more at that rate`);
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('over the minimum bound a guest of several vCPUs moves too', { skip }, async (t) => {
  const more = ['-smp', '4'];
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=16 ws=4 rate=2000 hb=50', { more }),
    TestDaemon.destination(t, { more }),
  ]);
  const info = await migrate(source, uri, { 'max-buffer-bytes': MiB });
  t.equal(info.status, 'completed', info['error-desc'] ?? '');
  t.ok(mplm(info).buffer.peak <= MiB, `peak ${mplm(info).buffer.peak}`);
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});
