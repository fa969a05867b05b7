import { join } from 'node:path';
import t from 'tap';
import { rawServer } from '../../client/raw_server.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { CtlProcess, vmhostctl } from './ctl_process.js';

const skip = noKvm();
const BUSY = 'fill=16 ws=1 rate=500 hb=50';

t.test('migrate --progress shows how far it is and prints what became of it', { skip }, async (t) => {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, BUSY),
    TestDaemon.destination(t),
  ]);
  const arrival = new CtlProcess(['-s', join(destination.dir, 'qmp'), 'query-migrate', '-c']);
  t.equal((await arrival.ended).code, 0);
  const { code, stdout, stderr } = await vmhostctl('-s', join(source.dir, 'qmp'), 'migrate', uri, '--progress');
  t.equal(code, 0, stderr);
  t.match(JSON.parse(stdout), { status: 'completed', ram: { remaining: 0 } });
  t.match(stderr, /^( {2}\[[#.]{16}\] .*\n)+$/, 'nothing but lines of progress, for it is no terminal');
  t.match(stderr, / {2}\[#{16}\] 100 % .* done\n$/);
  t.equal(await destination.status(), 'running');
});

t.test(
  'a migration that fails ends --wait with code 1 and the cause; without --wait it had begun',
  { skip },
  async (t) => {
    const source = await TestDaemon.source(t, BUSY);
    const socket = join(source.dir, 'qmp');
    const uri = `unix:${join(source.dir, 'nobody')}`;
    const waited = await vmhostctl('-s', socket, 'migrate', `uri=${uri}`, '--wait');
    t.equal(waited.code, 1);
    t.equal(waited.stdout, '');
    t.match(waited.stderr, /^vmhostctl: the migration failed: .*No such file or directory\n$/);
    t.match(await vmhostctl('-s', socket, 'migrate', uri), { code: 0, stdout: '{\n}\n' });
  },
);

t.test('Ctrl-C cancels the migration that is waited for, and the guest goes on', { skip }, async (t) => {
  const [source, { uri }] = await Promise.all([TestDaemon.source(t, BUSY), TestDaemon.destination(t)]);
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 20 });
  const child = new CtlProcess(['-s', join(source.dir, 'qmp'), 'migrate', uri, '--progress']);
  await child.prints(/epoch 0/, 'stderr');
  child.interrupt();
  const { code, stderr } = await child.ended;
  t.equal(code, 130);
  t.match(stderr, /vmhostctl: cancelling the migration; another Ctrl-C leaves .*\n/);
  t.match(stderr, /vmhostctl: the migration was cancelled\n$/);
  t.equal((await source.qmp.execute('query-migrate')).status, 'cancelled');
  t.equal(await source.status(), 'running');
});

t.test('a second Ctrl-C leaves at once', async (t) => {
  const asked: (string | undefined)[] = [];
  const server = await rawServer(t, ({ execute, id }) => {
    if (execute === 'query-migrate' ? !asked.includes(execute) : execute === 'migrate_cancel') child.interrupt();
    asked.push(execute);
    const answer = execute === 'query-migrate' ? '{"status": "active"}' : '{}';
    return `{"return": ${answer}, "id": "${id}"}\r\n`;
  });
  const child = new CtlProcess(['-s', server.path, 'migrate', 'x', '--wait']);
  const { code, stderr } = await child.ended;
  t.equal(code, 130);
  t.match(stderr, /vmhostctl: no longer waiting; the migration goes on\n$/);
  t.equal(asked.filter((command) => command === 'migrate_cancel').length, 1);
});

t.test('the other jobs are waited for too, and say why they failed', async (t) => {
  const answers: { [query: string]: string[] | undefined } = {
    'query-dump': ['{"status": "active"}', '{"status": "failed", "completed": 1, "total": 2}'],
    'query-dirty-rate': ['{"status": "measuring"}', '{"status": "measured", "dirty-rate": 5}'],
  };
  const server = await rawServer(t, ({ execute = '', id }) => {
    const answer = answers[execute]?.shift() ?? '{}';
    const event = answer.includes('failed') ? '{"event": "DUMP_COMPLETED", "data": {"error": "no space"}}\r\n' : '';
    return `${event}{"return": ${answer}, "id": "${id}"}\r\n`;
  });
  const dump = ['dump-guest-memory', 'paging=false', 'protocol=file:x', 'detach=true'];
  t.same(await vmhostctl('-s', server.path, ...dump, '-w'), {
    code: 1,
    stdout: '',
    stderr: 'vmhostctl: the dump failed: no space\n',
  });
  t.same(await vmhostctl('-s', server.path, '-w', '-c', 'calc-dirty-rate', 'calc-time=1'), {
    code: 0,
    stdout: '{"status": "measured", "dirty-rate": 5}\n',
    stderr: '',
  });
  t.same(await vmhostctl('-s', server.path, '-w', '-c', 'stop'), { code: 0, stdout: '{}\n', stderr: '' });
});
