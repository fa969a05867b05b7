/** Migrations over file descriptors that a client passed. */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { incomingTransport } from '../../../daemon/migration/transport.js';
import { createPipe } from '../../../kvm/pipes.js';
import { acceptFrom, listenOn, startConnect } from '../../../kvm/sockets.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { FdClient } from '../../helpers/fd_client.js';
import { consecutive, ended, heartbeats } from '../../helpers/migration.js';

const skip = noKvm();
const GUEST = 'fill=16 ws=2 rate=500 hb=50';

/** Passes `fd` on, and closes it here. */
async function pass(daemon: TestDaemon, name: string, fd: number): Promise<void> {
  const client = await FdClient.negotiated(join(daemon.dir, 'qmp'));
  await client.execute('getfd', { fdname: name }, [fd]);
  client.close();
  closeSync(fd);
}

function directory(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-passed-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Two sockets that are connected with each other. */
function socketPair(t: Test): [number, number] {
  const address = { kind: 'unix', path: join(directory(t), 's') } as const;
  const { fd } = listenOn(address);
  const pair: [number, number] = [startConnect(address), acceptFrom(fd) as number];
  closeSync(fd);
  return pair;
}

/** A guest goes from one daemon to the other over a pair of fds. */
async function moves(t: Test, out: number, into: number, answers: boolean): Promise<void> {
  const [source, destination] = await Promise.all([
    TestDaemon.source(t, GUEST),
    TestDaemon.start(t, { incoming: 'defer' }),
  ]);
  await source.qmp.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'return-path', state: answers }],
  });
  const { fds } = source.resources();
  await Promise.all([pass(source, 'mig', out), pass(destination, 'mig', into)]);
  await destination.qmp.execute('migrate-incoming', { uri: 'fd:mig' });
  t.same(await destination.qmp.execute('query-migrate'), {});
  const end = ended(source);
  await source.qmp.execute('migrate', { uri: 'fd:mig' });
  const info = await end;
  t.equal(info.status, 'completed', info['error-desc'] ?? '');
  await destination.line(/^HB /);
  t.equal(await source.status(), 'postmigrate');
  t.match(await destination.verify(), /^VERIFY ok/);
  const beats = heartbeats(source, destination);
  t.same(beats, consecutive(beats));
  t.ok(source.resources().fds <= fds + 2, 'the fd is closed');
  await t.rejects(source.qmp.execute('closefd', { fdname: 'mig' }), {
    message: "File descriptor named 'mig' not found",
  });
}

t.test('over a pipe', { skip }, async (t) => {
  const { read, write } = createPipe();
  await moves(t, write, read, false);
});

for (const answers of [false, true]) {
  t.test(`over a socket, ${answers ? 'with answers, as return-path says' : 'one way'}`, { skip }, async (t) => {
    const [out, into] = socketPair(t);
    await moves(t, out, into, answers);
  });
}

t.test('into a file, and out of it', { skip }, async (t) => {
  const file = join(directory(t), 'guest');
  const source = await TestDaemon.source(t, GUEST);
  await pass(source, 'file', openSync(file, 'w'));
  const end = ended(source);
  await source.qmp.execute('migrate', { uri: 'fd:file' });
  t.equal((await end).status, 'completed');
  const destination = await TestDaemon.start(t, { incoming: 'defer' });
  await pass(destination, 'file', openSync(file, 'r'));
  await destination.qmp.execute('migrate-incoming', { uri: 'fd:file' });
  await destination.line(/^HB /);
  t.match(await destination.verify(), /^VERIFY ok/);
});

t.test('what cannot be written to fails the migration, and the guest goes on', { skip }, async (t) => {
  const source = await TestDaemon.source(t, GUEST);
  const broken = createPipe();
  closeSync(broken.read);
  for (const [fd, cause] of [
    [broken.write, 'Unable to write to file: Broken pipe'],
    [openSync('/dev/full', 'w'), 'Unable to write to file: No space left on device'],
    [openSync('/dev/null', 'r'), 'Unable to write to file: Bad file descriptor'],
  ] as const) {
    await pass(source, 'bad', fd);
    const end = ended(source);
    await source.qmp.execute('migrate', { uri: 'fd:bad' });
    t.match(await end, { status: 'failed', 'error-desc': cause });
    t.equal(await source.status(), 'running');
  }
});

t.test('a blocked pipe is cancelled, and cut by yank', { skip }, async (t) => {
  const source = await TestDaemon.source(t, GUEST);
  for (const how of ['migrate_cancel', 'yank'] as const) {
    const { read, write } = createPipe();
    await pass(source, 'stuck', write);
    const from = source.events.length;
    const end = ended(source);
    await source.qmp.execute('migrate', { uri: 'fd:stuck' });
    await source.event('MIGRATION', ({ data }) => data.status === 'active', { from });
    if (how === 'yank') await source.qmp.execute('yank', { instances: [{ type: 'migration' }] });
    else await source.qmp.execute('migrate_cancel');
    t.equal((await end).status, how === 'yank' ? 'failed' : 'cancelled');
    t.equal(await source.status(), 'running');
    closeSync(read);
  }
});

t.test('an fd that nobody passed is refused, and the migration has failed of that', { skip }, async (t) => {
  const source = await TestDaemon.source(t, GUEST);
  const from = source.events.length;
  const message = "File descriptor named 'nofd' has not been found";
  await t.rejects(source.qmp.execute('migrate', { uri: 'fd:nofd' }), { message });
  t.same(source.eventNames(from), ['MIGRATION setup', 'MIGRATION failed']);
  t.same(await source.qmp.execute('query-migrate'), { status: 'failed', 'error-desc': message });
  const destination = await TestDaemon.start(t, { incoming: 'defer' });
  for (const [uri, text] of [
    ['fd:nofd', message],
    ['fd:9x', "Invalid file descriptor number '9x'"],
    ['fd:9999', "Invalid file descriptor number '9999'"],
  ] as const) {
    await t.rejects(destination.qmp.execute('migrate-incoming', { uri }), { message: text });
  }
  t.throws(
    () => incomingTransport({ kind: 'fd', name: 'nofd' }, undefined),
    { message: "Invalid file descriptor number 'nofd'" },
    'on the command line there are no names',
  );
});
