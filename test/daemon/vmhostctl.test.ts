import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import t from 'tap';
import { genericError } from '../../protocol/qmp_errors.js';
import { rawServer } from '../client/raw_server.js';
import { modelServer } from '../helpers/model_server.js';
import { CtlProcess, VMHOSTCTL, vmhostctl } from './ctl/ctl_process.js';
import { socketPath } from './qmp/socket_path.js';

t.test('prints what a command returns, and fails with the text of a refusal', async (t) => {
  const path = socketPath(t);
  let seen: object = {};
  const server = modelServer({
    handlers: {
      'set-mplm-migration': (args) => {
        seen = args;
        if (!args.enable) throw genericError('not now');
      },
    },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const status = await vmhostctl('-s', path, 'query-status');
  t.equal(status.code, 0, status.stderr);
  t.same(JSON.parse(status.stdout), { running: true, singlestep: false, status: 'running' });
  t.notMatch(status.stdout, /\r/);
  t.equal((await vmhostctl('-s', `unix:${path}`, 'set-mplm-migration', 'enable=on', 'dirtypercents=30')).code, 0);
  t.same(seen, { enable: true, dirtypercents: 30 });
  const refused = await vmhostctl('-s', path, 'set-mplm-migration', 'enable=off');
  t.same(refused, { code: 1, stdout: '', stderr: 'vmhostctl: not now\n' });
  t.match(await vmhostctl('-s', `${path}.none`, 'stop'), {
    code: 1,
    stderr: /^vmhostctl: QMP connection failed: .*ENOENT/,
  });
});

t.test('explains itself and its commands, and wrong usage', async (t) => {
  const all = await vmhostctl('--help');
  t.equal(all.code, 0);
  t.match(all.stdout, /^Usage: vmhostctl -s ADDRESS COMMAND/);
  t.match(all.stdout, /set-mplm-migration/);
  const one = await vmhostctl('--help', 'migrate');
  t.match(one.stdout, /uri=string\n.*\n.*blk=boolean \(optional\)/s);
  t.match(await vmhostctl('stop'), { code: 2, stderr: /^vmhostctl: -s ADDRESS is missing\n\nUsage:/ });
  t.match(await vmhostctl('-s', 'x', 'stop', 'now'), { code: 2, stderr: /'now' is not of the form NAME=VALUE/ });
  t.match(await vmhostctl('-s', 'x', 'events', 'now'), { code: 2, stderr: /'events' takes no 'now'/ });
  t.match(await vmhostctl('-t', 'x', 'stop'), { code: 2, stderr: /--timeout: 'x' is no number of seconds/ });
  t.match(await vmhostctl('--nope'), { code: 2, stderr: /--nope/ });
  t.match(await vmhostctl('--help', 'nope'), { code: 2, stderr: /there is no command 'nope'/ });
});

t.test('output that a full disk does not take is told; a reader that is gone is not', (t) => {
  const run = (output: string) =>
    spawnSync('bash', ['-c', `"$0" "$1" --help ${output}`, process.execPath, VMHOSTCTL], {
      encoding: 'utf8',
    });
  t.match(run('>/dev/full'), {
    status: 1,
    stderr: /^vmhostctl: the output cannot be written: ENOSPC: no space left on device, write\n$/,
  });
  t.match(run('| true'), { stderr: '' });
  t.end();
});

t.test('the socket may come from the environment; output may be one line, and integers are exact', async (t) => {
  const answer = '{"max-bandwidth": 18446744073709551615, "downtime-limit": 300}';
  const server = await rawServer(t, ({ id }) => `{"return": ${answer}, "id": "${id}"}\r\n`);
  const child = new CtlProcess(['query-migrate-parameters', '-c'], { VMHOSTCTL_SOCKET: server.path });
  t.same(await child.ended, {
    code: 0,
    stdout: '{"downtime-limit": 300, "max-bandwidth": 18446744073709551615}\n',
    stderr: '',
  });
});

t.test('events are printed a line each, those of a name only, the next one or all', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  await server.listen({ kind: 'unix', path });
  const all = new CtlProcess(['-s', path, 'events', '--follow']);
  const some = new CtlProcess(['-s', path, 'events', '-f', '-e', 'RESUME', '-e', 'RESET']);
  const next = new CtlProcess(['-s', path, 'events', '--event', 'RESUME']);
  // An event before a client has negotiated is not for it.
  let shown = 0;
  const emitting = setInterval(() => server.emit(shown++ % 2 ? 'RESUME' : 'STOP'), 20);
  t.teardown(() => clearInterval(emitting));
  const first = await next.ended;
  t.equal(first.code, 0, first.stderr);
  t.match(first.stdout, /^\{"timestamp": \{"seconds": \d+, "microseconds": \d+\}, "event": "RESUME"\}\n$/);
  await Promise.all([all.prints(/STOP.*\n.*RESUME.*\n/), some.prints(/RESUME.*\n.*RESUME.*\n/)]);
  clearInterval(emitting);
  await server.close();
  t.equal((await all.ended).code, 0, 'to follow ends well with the connection');
  t.notMatch((await some.ended).stdout, /STOP/);
});

t.test('an event that cannot come any more is an error', async (t) => {
  const path = socketPath(t);
  const server = createServer((socket) => {
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n');
    socket.once('data', () => socket.end('{"return": {}, "id": "1"}\r\n'));
  });
  t.teardown(() => server.close());
  server.listen(path);
  t.same(await vmhostctl('-s', path, 'events'), {
    code: 1,
    stdout: '',
    stderr: 'vmhostctl: the connection closed before the event came\n',
  });
});

t.test('waiting has a limit where one is given', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  t.same(await vmhostctl('-s', path, '-t', '0.3', 'events'), {
    code: 1,
    stdout: '',
    stderr: 'vmhostctl: not done within 0.3 s\n',
  });
});

t.test('without a terminal the shell reads a script: results in order, refusals on standard error', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const shell = new CtlProcess(['-s', path]);
  shell.type('query-status -c\n\n# nothing\nhelp stop\nmigrate x\n{"execute": "query-name", "id": 1}\nbad "quote\n');
  shell.endInput();
  const { code, stdout, stderr } = await shell.ended;
  t.match(stdout, /^\{"singlestep": false, "status": "running", "running": true\}\nstop: .*\n\{\n\}\n$/);
  t.equal(stderr, 'The command migrate has not been found\na " is missing\n');
  t.equal(code, 1);
  const well = new CtlProcess(['-s', path, 'shell']);
  well.type('query-status -c\nexit\nbad\n');
  t.match(await well.ended, { code: 0, stderr: '' });
});
