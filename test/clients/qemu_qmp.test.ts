import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import t from 'tap';
import { noKvm } from '../helpers/daemons.js';
import { assertMoved, pair } from './pair.js';

/** npm's qemu-qmp, which has no types: a socket that takes its first chunk for the greeting, and knows no ids. */
interface Qmp extends Omit<Socket, 'connect'> {
  connect(path: string, callback: (error: Error | null) => void): unknown;
  execute(command: string, args: object, callback: (error: Error | null, value: unknown) => void): void;
}

const QmpSocket: new () => Qmp = createRequire(import.meta.url)('qemu-qmp');

t.test(
  "npm's qemu-qmp, which parses the first chunk alone, drives a guest and migrates it",
  { skip: noKvm() },
  async (t) => {
    const vms = await pair(t);
    const socket = new QmpSocket();
    t.teardown(() => socket.destroy());
    const execute = (command: string, args = {}): Promise<unknown> =>
      new Promise((resolve, reject) => {
        socket.execute(command, args, (error, value) => (error ? reject(error) : resolve(value)));
      });
    await new Promise<void>((resolve, reject) => {
      socket.connect(vms.socket, (error) => (error ? reject(error) : resolve()));
    });
    t.match(socket, { version: { qemu: { major: 7, minor: 2 } } });
    const stopped = once(socket, 'stop');
    await execute('stop');
    await stopped;
    t.match(await execute('query-status'), { status: 'paused' });
    await execute('cont');
    await t.rejects(execute('nope'), { message: 'The command nope has not been found' });
    await execute('migrate', { uri: vms.uri });
    await vms.source.event('MIGRATION', ({ data }) => data.status === 'completed');
    t.match(await execute('query-migrate'), { status: 'completed' });
    await assertMoved(t, vms);
  },
);
