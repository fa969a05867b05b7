import { once } from 'node:events';
import t from 'tap';
import { QmpClient, QmpConnectionError, QmpError, QmpTimeoutError } from '../../client/qmp_client.js';
import { rawServer } from './raw_server.js';

const reply = (id: string, value = '{}') => `{"return": ${value}, "id": "${id}"}\r\n`;

t.test('replies are matched by id, in whatever order they come', async (t) => {
  let first = '';
  const server = await rawServer(t, ({ execute, id }) => {
    if (execute === undefined) return reply(id, '"out of band"') + reply(first, '"in band"');
    first = id;
    return '';
  });
  const client = await QmpClient.connect(server.path, { oob: true });
  t.same(server.commands[0], { execute: 'qmp_capabilities', arguments: { enable: ['oob'] }, id: '1' });
  const order: unknown[] = [];
  await Promise.all([
    client.executeRaw('slow').then((value) => order.push(value)),
    client.executeRaw('quick', { a: 1 }, { oob: true }).then((value) => order.push(value)),
  ]);
  t.same(order, ['out of band', 'in band']);
  t.same(server.commands[2], { 'exec-oob': 'quick', arguments: { a: 1 }, id: '3' });
  await client.close();
});

t.test('out-of-band execution is refused where it was not asked for', async (t) => {
  const server = await rawServer(t, ({ id }) => reply(id));
  await using client = await QmpClient.connect(server.path);
  t.same(client.capabilities, ['oob']);
  await t.rejects(client.executeRaw('quick', {}, { oob: true }), /cannot execute quick out of band/);
  t.equal(server.commands.length, 1, 'nothing was sent');
});

t.test(
  'a caller gives up after its time or by its signal; the connection goes on and a late reply is dropped',
  async (t) => {
    const waiting: string[] = [];
    const server = await rawServer(t, ({ execute, id }) => {
      if (execute === 'last') return [...waiting, id].map((each) => reply(each, `"${each}"`)).join('');
      waiting.push(id);
      return '';
    });
    await using client = await QmpClient.connect(server.path);
    const late = client.executeRaw('slow', undefined, { timeoutMs: 5 });
    await t.rejects(late, new QmpTimeoutError('no reply to slow within 5 ms'));
    const abort = new AbortController();
    const aborted = client.executeRaw('slow', undefined, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await t.rejects(aborted, { message: 'enough' });
    await t.rejects(client.executeRaw('slow', undefined, { signal: abort.signal }), { message: 'enough' });
    t.equal(await client.executeRaw('last'), '4');
    t.equal(server.commands.length, 4, 'a call that was aborted before it began sent nothing');
    await t.rejects(client.waitFor('STOP', undefined, { signal: abort.signal }), { message: 'enough' });
    t.equal(client.listenerCount('event'), 0);
  },
);

t.test('a connection that waits for its greeting can be given up', async (t) => {
  const server = await rawServer(t, () => '');
  const signal = AbortSignal.abort(new Error('never mind'));
  await t.rejects(QmpClient.connect(server.path, { signal }), { message: 'never mind' });
});

t.test('when the connection breaks, each call under way is rejected once, and later ones too', async (t) => {
  const server = await rawServer(t, () => '');
  const client = await QmpClient.connect(server.path);
  let rejections = 0;
  const calls = ['a', 'b', 'c'].map((name) =>
    client.executeRaw(name, undefined, { timeoutMs: 60_000 }).catch((error: unknown) => {
      rejections++;
      return error;
    }),
  );
  const closed = once(client, 'close');
  server.socket().write('{"return": {}, "id": "99"}\r\n');
  for (const error of await Promise.all(calls)) {
    t.ok(error instanceof QmpConnectionError);
    t.match(error, { message: /a reply to no command/ });
  }
  await closed;
  t.equal(rejections, 3);
  await t.rejects(client.executeRaw('d'), /a reply to no command/);
  await Promise.all([client.close(), client.close()]);
});

t.test('integers stay exact, as number or bigint, or all as bigint where that is asked for', async (t) => {
  const value = '{"small": 1, "big": 18446744073709551615, "list": [-9223372036854775808], "double": 0.5}';
  const server = await rawServer(t, ({ id }) => reply(id, value));
  await using client = await QmpClient.connect(server.path);
  t.same(await client.executeRaw('x'), {
    small: 1,
    big: 18446744073709551615n,
    list: [-9223372036854775808n],
    double: 0.5,
  });
  t.same(await client.executeRaw('x', { big: 2n ** 64n - 1n }, { integers: 'bigint' }), {
    small: 1n,
    big: 18446744073709551615n,
    list: [-9223372036854775808n],
    double: 0.5,
  });
});

t.test('a value without a JSON form is refused and leaves nothing behind', async (t) => {
  const server = await rawServer(t, ({ id }) => reply(id));
  await using client = await QmpClient.connect(server.path);
  await t.rejects(client.executeRaw('x', { f: () => 1 }), TypeError);
  t.same(await client.executeRaw('x'), {});
});

t.test('errors keep the class and text of the server, also of classes it alone knows', async (t) => {
  const server = await rawServer(
    t,
    ({ id }) => `{"id": "${id}", "error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}}\r\n`,
  );
  await using client = await QmpClient.connect(server.path);
  const error = await client.executeRaw('device_del', { id: 'x' }).catch((caught: unknown) => caught);
  t.ok(error instanceof QmpError);
  t.match(error, { class: 'DeviceNotFound', desc: "Device 'x' not found", message: "Device 'x' not found" });
});

t.test('each event is heard under its own name too; a slow reader loses the oldest, and knows how many', async (t) => {
  const event = (name: string, data = '{}') =>
    `{"timestamp": {"seconds": 5, "microseconds": 250000}, "event": "${name}", "data": ${data}}\r\n`;
  const server = await rawServer(t, ({ id }) => {
    const passes = [1, 2, 3, 4, 5].map((pass) => event('MIGRATION_PASS', `{"pass": ${pass}}`));
    return [...passes, event('error'), event('close'), event('VENDOR_EVENT'), reply(id)].join('');
  });
  await using client = await QmpClient.connect(server.path);
  const all: string[] = [];
  client.on('event', ({ event }) => all.push(event));
  const passes: number[] = [];
  client.on('MIGRATION_PASS', ({ data }) => passes.push(Number(data.pass)));
  const first = once(client, 'MIGRATION_PASS');
  const queue = client.events({ capacity: 2 });
  await client.executeRaw('x');
  t.same(await first, [{ event: 'MIGRATION_PASS', data: { pass: 1 }, timestamp: 5.25 }]);
  t.same(passes, [1, 2, 3, 4, 5]);
  t.same(all.at(-1), 'VENDOR_EVENT', 'an event that the schemas do not know is one all the same');
  t.equal(all.length, 6, 'a name that no event of QAPI can have is none');
  t.equal(queue.dropped, 4);
  t.match(await queue.next(), { value: { event: 'MIGRATION_PASS', data: { pass: 5 } } });
  t.match(await queue.next(), { value: { event: 'VENDOR_EVENT' } });
  await client.close();
  t.same(await queue.next(), { value: undefined, done: true });
});
