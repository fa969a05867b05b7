import { once } from 'node:events';
import { QMPClient, QmpCommandError } from 'node-qemu';
import t from 'tap';
import { noKvm } from '../helpers/daemons.js';
import { assertMoved, pair } from './pair.js';

t.test("npm's node-qemu drives a guest and migrates it", { skip: noKvm() }, async (t) => {
  const vms = await pair(t);
  const client = new QMPClient({ socketPath: vms.socket, oob: true });
  t.teardown(() => client.close());
  const events: string[] = [];
  client.on('rawEvent', ({ event }) => events.push(event));
  await client.connect();
  t.match(await client.queryStatus(), { status: 'running', running: true });
  await client.stop();
  t.equal((await client.queryStatus()).status, 'paused');
  await client.cont();
  t.equal((await client.queryStatus()).status, 'running');
  t.same(events, ['STOP', 'RESUME']);
  t.ok((await client.queryCommands()).some(({ name }) => name === 'migrate'));
  t.match(await client.queryKvm(), { enabled: true, present: true });
  t.match(await client.queryCpusFast(), [{ 'cpu-index': 0 }]);

  const refusal = await client.execute('no-such-command').catch((error: unknown) => error);
  t.ok(refusal instanceof QmpCommandError);
  t.match(refusal, { qmpClass: 'CommandNotFound', description: 'The command no-such-command has not been found' });

  await client.migrateSetCapabilities([{ capability: 'events', state: true }]);
  await client.migrateSetParameters({ 'max-bandwidth': 2 ** 40, 'downtime-limit': 200 } as never);
  t.match(await client.queryMigrateParameters(), { 'max-bandwidth': 2 ** 40, 'downtime-limit': 200 });
  const completed = new Promise<void>((resolve) => {
    client.on('MIGRATION', ({ status }) => {
      if (status === 'completed') resolve();
    });
  });
  await client.migrate({ uri: vms.uri });
  await completed;
  t.match(await client.queryMigrate(), { status: 'completed', ram: { remaining: 0 } });
  await assertMoved(t, vms);

  const gone = once(client, 'disconnected');
  await client.quit();
  await gone;
  t.match(await vms.source.exited, { code: 0 });
});
