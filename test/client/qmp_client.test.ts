import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import t from 'tap';
import { parseAddress } from '../../client/address.js';
import { QmpClient, QmpConnectionError, QmpError } from '../../client/qmp_client.js';
import { DEFAULT_PARAMETERS } from '../../daemon/migration/parameters.js';
import { socketPath } from '../daemon/qmp/socket_path.js';
import { modelServer, VERSION } from '../helpers/model_server.js';

t.test('commands are executed, refusals are QmpErrors with class and text', async (t) => {
  const path = socketPath(t);
  const server = modelServer({
    handlers: {
      'query-migrate-parameters': () => ({ ...DEFAULT_PARAMETERS, 'max-bandwidth': 9223372036853727232n }),
    },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  for (const address of [path, `unix:${path}`]) {
    const client = await QmpClient.connect(address);
    t.same(client.version, VERSION);
    const [status, name] = await Promise.all([client.execute('query-status'), client.execute('query-name')]);
    t.same(status, { running: true, singlestep: false, status: 'running' });
    t.same(name, {});
    t.match(await client.execute('query-migrate-parameters'), {
      'max-bandwidth': 9223372036853727232n,
      'downtime-limit': 300,
    });
    const refusal = await client.execute('migrate', { uri: 'x' }).catch((error: unknown) => error);
    t.ok(refusal instanceof QmpError);
    t.match(refusal, { class: 'CommandNotFound', desc: 'The command migrate has not been found' });
    await client.close();
    await t.rejects(client.execute('stop'), QmpConnectionError);
  }
});

t.test('the same over TCP', async (t) => {
  const server = modelServer();
  t.teardown(() => server.close());
  const address = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  const client = await QmpClient.connect(`tcp:127.0.0.1:${address.kind === 'tcp' && address.port}`);
  t.match(await client.execute('query-status'), { running: true });
  await client.close();
});

t.test('events can be listened to, waited for and iterated', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const client = await QmpClient.connect(path);
  const heard: string[] = [];
  client.on('event', (event) => heard.push(event.event));
  const events = client.events();
  const active = client.waitFor('MIGRATION', ({ status }) => status === 'active', { timeoutMs: 5000 });
  await client.execute('stop');
  server.emit('MIGRATION', { status: 'setup' });
  server.emit('MIGRATION', { status: 'active' });
  const event = await active;
  t.same(event.data, { status: 'active' });
  t.ok(Math.abs(event.timestamp - Date.now() / 1000) < 60);
  t.same(heard, ['STOP', 'MIGRATION', 'MIGRATION']);
  const iterated: string[] = [];
  for await (const each of events) {
    iterated.push(each.event);
    if (iterated.length === 3) break;
  }
  t.same(iterated, heard);
  t.equal(client.listenerCount('event'), 1, 'a loop that is left listens no more');
  await t.rejects(client.waitFor('RESET', undefined, { timeoutMs: 1 }), /no event RESET within 1 ms/);
  t.equal(client.listenerCount('event'), 1);
  await client.close();
});

t.test('when the server goes away, whatever is under way is rejected', async (t) => {
  const path = socketPath(t);
  let started: () => void = () => {};
  const running = new Promise<void>((resolve) => {
    started = resolve;
  });
  const never = new Promise<{ UUID: string }>(() => {});
  const server = modelServer({
    handlers: {
      'query-uuid': () => {
        started();
        return never;
      },
    },
  });
  await server.listen({ kind: 'unix', path });
  const client = await QmpClient.connect(path);
  const events = client.events();
  const pending = client.execute('query-uuid').catch((error: Error) => error);
  const waiting = client.waitFor('STOP').catch((error: Error) => error);
  await running;
  await server.close();
  t.match(await pending, { name: 'QmpConnectionError', message: /closed before query-uuid was answered/ });
  t.match(await waiting, { name: 'QmpConnectionError', message: /closed before event STOP/ });
  t.same(await events.next(), { value: undefined, done: true });
  await t.rejects(client.waitFor('STOP'), QmpConnectionError);
  await client.close();
});

t.test('a peer that is not a QMP server is refused in one sentence', async (t) => {
  const path = socketPath(t);
  let answer: (socket: Socket) => void = () => {};
  const fake = createServer((socket) => {
    socket.on('error', () => {});
    answer(socket);
  });
  t.teardown(() => fake.close());
  fake.listen(path);
  await once(fake, 'listening');
  answer = (socket) => socket.write('SSH-2.0-OpenSSH\r\n');
  await t.rejects(QmpClient.connect(path), /does not speak QMP: JSON parse error/);
  answer = (socket) => socket.write('[1]\r\n');
  await t.rejects(QmpClient.connect(path), /a message is not a JSON object/);
  answer = (socket) => socket.write('{"return": {}, "id": 77}\r\n');
  await t.rejects(QmpClient.connect(path), /a reply to no command/);
  answer = (socket) => socket.end();
  await t.rejects(QmpClient.connect(path), /closed the connection/);
  answer = () => {};
  await t.rejects(QmpClient.connect(path, { timeoutMs: 20 }), /no QMP greeting .* within 20 ms/);
  await t.rejects(QmpClient.connect(`${path}.none`), /ENOENT/);
});

t.test('addresses are read, bad ones named', async (t) => {
  t.same(parseAddress('unix:/a:b'), { path: '/a:b' });
  t.same(parseAddress('/a'), { path: '/a' });
  t.same(parseAddress('tcp:host:4444'), { host: 'host', port: 4444 });
  t.same(parseAddress('tcp::4444'), { host: 'localhost', port: 4444 });
  t.same(parseAddress('tcp:[::1]:4444'), { host: '::1', port: 4444 });
  for (const bad of ['tcp:host', 'tcp:host:0', 'tcp:host:70000', 'tcp:::1:4444', 'unix:', '']) {
    t.throws(() => parseAddress(bad), { message: new RegExp(`^'${bad}' is not an address`) });
  }
});
