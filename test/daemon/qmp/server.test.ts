import { once } from 'node:events';
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import t from 'tap';
import { QmpServer } from '../../../daemon/qmp/server.js';
import { genericError } from '../../../protocol/qmp_errors.js';
import { mask } from '../../conformance/mask.js';
import { Peer } from '../../conformance/peer.js';
import { modelServer, SILENT, VERSION } from '../../helpers/model_server.js';
import { socketPath } from './socket_path.js';

const STOP_EVENT = '{"timestamp": {"seconds": 0, "microseconds": 0}, "event": "STOP"}\r\n';
const WITH_OOB = '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}';

/** A promise and the function that resolves it. */
function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

t.test(
  'several clients have sessions of their own and all get every event, before the reply it belongs to',
  async (t) => {
    const path = socketPath(t);
    const server = modelServer();
    t.teardown(() => server.close());
    await server.listen({ kind: 'unix', path });
    const [a, b] = [await Peer.negotiated(path), await Peer.negotiated(path)];
    const silent = await Peer.open(path);
    await silent.lines(1);
    a.send('{"execute":"stop","id":"a"}');
    t.equal(mask(await a.lines(2)), `${STOP_EVENT}{"return": {}, "id": "a"}\r\n`);
    t.equal(mask(await b.lines(1)), STOP_EVENT);
    silent.send('{"execute":"query-status"}');
    t.match(await silent.finish(), /^\{"error": .*Expecting capabilities negotiation.*\}\r\n$/, 'and no event');
    b.send('{"execute":"query-status"}');
    t.match(await b.lines(1), /"paused"/);
    for (const peer of [a, b]) t.equal(await peer.finish(), '');
  },
);

t.test('replies of a client are in order although handlers take their time', async (t) => {
  const path = socketPath(t);
  const slow = gate();
  const server = modelServer({ handlers: { 'query-uuid': () => slow.opened.then(() => ({ UUID: 'late' })) } });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const [a, b] = [await Peer.negotiated(path), await Peer.negotiated(path)];
  a.send('{"execute":"query-uuid"}{"execute":"query-name"}');
  b.send('{"execute":"query-name"}');
  t.equal(await b.lines(1), '{"return": {}}\r\n', 'another client is not delayed');
  slow.open();
  t.equal(await a.lines(2), '{"return": {"UUID": "late"}}\r\n{"return": {}}\r\n');
});

t.test('an out-of-band command overtakes one that runs and those that wait', async (t) => {
  const path = socketPath(t);
  const slow = gate();
  const server = modelServer({ handlers: { 'query-uuid': () => slow.opened.then(() => ({ UUID: 'late' })) } });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path, WITH_OOB);
  peer.send('{"execute":"query-uuid"}{"execute":"query-name","id":1}');
  peer.send('{"exec-oob":"yank","arguments":{"instances":[]},"id":"now"}');
  t.equal(await peer.lines(1), '{"return": {}, "id": "now"}\r\n');
  slow.open();
  t.equal(await peer.lines(2), '{"return": {"UUID": "late"}}\r\n{"return": {}, "id": 1}\r\n');
});

t.test('what a handler throws is a refusal, or is logged and reported as GenericError', async (t) => {
  const path = socketPath(t);
  const logged: string[] = [];
  const server = modelServer({
    log: { ...SILENT, error: (_, message) => logged.push(message) },
    handlers: {
      'query-kvm': () => {
        throw genericError('refused');
      },
      'query-uuid': async () => {
        throw new Error('broken');
      },
      'query-name': () => ({ nom: 'x' }) as object,
    },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path);
  peer.send('{"execute":"query-kvm"}{"execute":"query-uuid"}{"execute":"query-name"}{"execute":"query-status"}');
  const [kvm, uuid, name, status] = (await peer.lines(4)).split('\r\n');
  t.equal(kvm, '{"error": {"class": "GenericError", "desc": "refused"}}');
  t.equal(uuid, '{"error": {"class": "GenericError", "desc": "broken"}}');
  t.match(name, /query-name has a member 'nom'/);
  t.match(status, /"running"/);
  t.same(logged, ['QMP command failed', 'QMP command failed']);
});

t.test('what a handler defers comes after its reply', async (t) => {
  const path = socketPath(t);
  const server: QmpServer = modelServer({
    handlers: {
      migrate: (_, context) => {
        server.emit('MIGRATION', { status: 'setup' });
        context.afterReply(() => server.emit('MIGRATION', { status: 'active' }));
      },
    },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path);
  peer.send('{"execute":"migrate","arguments":{"uri":"tcp:x:1"}}');
  const lines = (await peer.lines(3)).split('\r\n');
  t.match(lines[0], /setup/);
  t.equal(lines[1], '{"return": {}}');
  t.match(lines[2], /active/);
});

t.test('after a half-close all commands are answered, then comes the end', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path);
  const count = 500;
  peer.send(Array.from({ length: count }, (_, id) => `{"execute":"query-name","id":${id}}`).join('\n'));
  const replies = Array.from({ length: count }, (_, id) => `{"return": {}, "id": ${id}}\r\n`).join('');
  t.equal(await peer.finish(), replies);
  t.ok(peer.ended);
});

t.test('quit is answered, later commands are not, and then the connection ends', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path);
  peer.send('{"execute":"quit"}{"execute":"query-name","id":2}');
  const [event, reply, rest] = mask(await peer.take(() => false)).split('\r\n');
  t.match(event, /"SHUTDOWN", "data": \{"guest": false, "reason": "host-qmp-quit"\}/);
  t.equal(reply, '{"return": {}}');
  t.equal(rest, '');
  await server.close();
  t.notOk(existsSync(path), 'the socket file is gone');
});

t.test('query-commands lists what has a handler', async (t) => {
  const path = socketPath(t);
  const server = new QmpServer({ version: () => VERSION, log: SILENT, handlers: { stop: () => {} } });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path);
  peer.send('{"execute":"query-commands"}{"execute":"cont"}');
  const [list, cont] = (await peer.lines(2)).split('\r\n');
  const names = ['stop', 'query-qmp-schema', 'query-commands', 'query-version', 'qmp_capabilities'];
  t.same(JSON.parse(list as string), { return: names.map((name) => ({ name })) });
  t.match(cont, /The command cont has not been found/);
});

t.test('a socket file is private, replaced when stale, and otherwise left alone', async (t) => {
  const path = socketPath(t);
  const [first, second] = [modelServer(), modelServer()];
  t.teardown(() => Promise.all([first.close(), second.close()]));
  await first.listen({ kind: 'unix', path });
  t.equal(statSync(path).mode & 0o777, 0o600);
  await t.rejects(second.listen({ kind: 'unix', path }), {
    message: `Failed to bind socket to ${path}: Address already in use`,
  });
  const peer = await Peer.negotiated(path);
  t.equal(await peer.finish(), '', 'the first server is not disturbed');
  await first.close();

  // A socket file without a listener: that of a server which has handed its file to another name.
  const abandoned = createServer();
  abandoned.listen(`${path}.old`);
  await once(abandoned, 'listening');
  const { renameSync } = await import('node:fs');
  renameSync(`${path}.old`, path);
  abandoned.close();
  await once(abandoned, 'close');
  t.ok(existsSync(path));
  await second.listen({ kind: 'unix', path });
  t.equal(await (await Peer.negotiated(path)).finish(), '');

  const file = `${path}.txt`;
  writeFileSync(file, 'precious');
  await t.rejects(modelServer().listen({ kind: 'unix', path: file }), /a file that is not a socket is in the way/);
  t.ok(statSync(file).isFile());
  await t.rejects(modelServer().listen({ kind: 'unix', path: `/tmp/${'x'.repeat(120)}` }), /1 to 107 bytes/);
  chmodSync(file, 0o600);
});

t.test('TCP is served as well, on the port that was free', async (t) => {
  const server = modelServer();
  t.teardown(() => server.close());
  const address = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  if (address.kind !== 'tcp') throw new Error('not TCP');
  t.not(address.port, 0);
  const socket = connect(address.port, '127.0.0.1').setEncoding('latin1');
  const [greeting] = await once(socket, 'data');
  t.match(greeting, /^\{"QMP": .*\}\r\n$/);
  socket.destroy();
  await t.rejects(
    modelServer().listen({ kind: 'tcp', host: '127.0.0.1', port: address.port }),
    /^Failed to listen on 127.0.0.1:\d+: Address already in use$/,
  );
});

t.test('a client that does not read is not read from either, and neither delays nor fills the server', async (t) => {
  const path = socketPath(t);
  let ran = 0;
  const big = 'x'.repeat(50_000);
  const server = modelServer({
    limits: { softBytes: 100_000 },
    handlers: {
      'query-name': () => {
        ran++;
        return { name: big };
      },
    },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const deaf = connect(path);
  t.teardown(() => deaf.destroy());
  await once(deaf, 'readable');
  const total = 400;
  deaf.write(`{"execute":"qmp_capabilities"}${'{"execute":"query-name"}'.repeat(total)}`);
  const other = await Peer.negotiated(path);
  for (let i = 0; i < 20; i++) {
    other.send('{"execute":"query-status"}');
    t.match(await other.lines(1), /"running"/);
  }
  t.ok(ran < total / 4, `${ran} of ${total} commands ran`);
  let bytes = 0;
  const done = gate();
  deaf.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > total * big.length) done.open();
  });
  await done.opened;
  t.equal(ran, total, 'once it reads, all of them ran');
});

t.test('a client with too much waiting is dropped, the others go on', async (t) => {
  const path = socketPath(t);
  const warned: string[] = [];
  const server = modelServer({
    limits: { softBytes: 10_000, hardBytes: 50_000 },
    log: { ...SILENT, warn: (_, message) => warned.push(message) },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const other = await Peer.negotiated(path);
  const deaf = connect(path);
  deaf.on('error', () => {});
  t.teardown(() => deaf.destroy());
  deaf.write('{"execute":"qmp_capabilities"}');
  await once(deaf, 'readable');
  let events = 0;
  while (warned.length === 0 && events < 100_000) {
    for (let i = 0; i < 100; i++, events++) server.emit('STOP');
    await other.lines(100);
  }
  t.same(warned, ['QMP client does not read its messages, disconnecting it']);
  other.send('{"execute":"query-name"}');
  t.match(await other.finish(), /\{"return": \{\}\}\r\n$/);
});

t.test('more clients than are allowed are turned away', async (t) => {
  const path = socketPath(t);
  const server = modelServer({ maxClients: 1 });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const first = await Peer.negotiated(path);
  const second = await Peer.open(path);
  t.equal(await second.take(() => false), '');
  t.ok(second.ended);
  t.equal(await first.finish(), '');
});

t.test('a client that leaves while its command runs harms nobody', async (t) => {
  const path = socketPath(t);
  const [started, slow] = [gate(), gate()];
  const server = modelServer({
    handlers: {
      'query-uuid': async () => {
        started.open();
        await slow.opened;
        return { UUID: 'late' };
      },
    },
  });
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path);
  peer.send('{"execute":"query-uuid"}');
  await started.opened;
  peer.destroy();
  slow.open();
  const other = await Peer.negotiated(path);
  t.equal(await other.finish(), '');
  await server.close();
});

t.test('closing is idempotent, ends every connection and refuses to listen again', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  await server.listen({ kind: 'unix', path });
  const peer = await Peer.negotiated(path);
  await Promise.all([server.close(), server.close()]);
  t.equal(await peer.take(() => false), '');
  t.notOk(existsSync(path));
  await t.rejects(server.listen({ kind: 'unix', path }), /is closed/);
});
