import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { connectTo } from '../../../daemon/sockets/connect.js';
import type { FdStream } from '../../../daemon/sockets/fd_stream.js';
import { SocketListener } from '../../../daemon/sockets/socket_listener.js';
import { FdWatcher } from '../../../kvm/fd_watcher_unsafe.js';
import { FdClient } from '../../helpers/fd_client.js';
import { socketPath } from '../qmp/socket_path.js';

const openFds = () => readdirSync('/proc/self/fd').length;

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** A listener whose next connection can be awaited. */
async function listen(t: Test, path: string) {
  const streams: FdStream[] = [];
  const failures: Error[] = [];
  let wake: () => void = () => undefined;
  const listener = await SocketListener.listen(
    { kind: 'unix', path },
    {
      connection: (stream) => {
        stream.on('error', () => undefined);
        streams.push(stream);
        wake();
      },
      failed: (error) => {
        failures.push(error);
        wake();
      },
    },
  );
  t.teardown(() => {
    listener[Symbol.dispose]();
    for (const stream of streams) stream.destroy();
  });
  return {
    failures,
    change: () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      }),
    connection: async () => {
      while (streams.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return streams.shift() as FdStream;
    },
  };
}

t.test('file descriptors arrive just before the bytes they came with, and close on exec', async (t) => {
  const path = socketPath(t);
  const server = await listen(t, path);
  const client = new FdClient(path);
  t.teardown(() => client.close());
  const stream = await server.connection();
  const seen: unknown[] = [];
  stream.on('fds', (fds: number[]) => seen.push(fds.length, ...fds.map(isOpen)));
  stream.on('fds', (fds: number[]) => fds.forEach(closeSync));
  stream.on('data', (chunk: Buffer) => seen.push(chunk.toString()));
  const file = openSync('/dev/null', 'r');
  client.send('a');
  client.send('b', [file, file]);
  client.send('c', [file]);
  client.send('d');
  closeSync(file);
  while (!seen.includes('d') && !seen.includes('cd')) await once(stream, 'data');
  // Bytes without fds may come together with those before or after them.
  t.same(
    seen.filter((part) => typeof part !== 'string'),
    [2, true, true, 1, true],
  );
  t.equal(seen.filter((part) => typeof part === 'string').join(''), 'abcd');
  const first = seen.indexOf(2);
  t.match(seen[first + 3], /b$/, 'the bytes of the message follow');
});

t.test('a paused stream reads neither bytes nor file descriptors', async (t) => {
  const path = socketPath(t);
  const server = await listen(t, path);
  const client = new FdClient(path);
  t.teardown(() => client.close());
  const stream = await server.connection();
  let got = '';
  let fds = 0;
  stream.on('fds', (list: number[]) => {
    fds += list.length;
    list.forEach(closeSync);
  });
  stream.on('data', (chunk: Buffer) => {
    got += chunk.toString();
  });
  stream.pause();
  const file = openSync('/dev/null', 'r');
  client.send('x', [file]);
  closeSync(file);
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.same([got, fds], ['', 0]);
  stream.resume();
  await once(stream, 'data');
  t.same([got, fds], ['x', 1]);
});

t.test('file descriptors for which nobody listens are closed', async (t) => {
  const path = socketPath(t);
  const server = await listen(t, path);
  const client = new FdClient(path);
  t.teardown(() => client.close());
  const stream = await server.connection();
  const file = openSync('/dev/null', 'r');
  t.teardown(() => closeSync(file));
  const before = openFds();
  stream.resume();
  for (let i = 0; i < 10; i++) client.send('x', new Array(100).fill(file));
  client.send('end');
  await new Promise<void>((resolve) => stream.on('data', (chunk: Buffer) => chunk.includes('end') && resolve()));
  t.equal(openFds(), before);
});

t.test('more than a socket holds is written in order as the reader takes it', async (t) => {
  const path = socketPath(t);
  const server = await listen(t, path);
  const reader = await connectTo({ kind: 'unix', path });
  t.teardown(() => reader.destroy());
  const stream = await server.connection();
  const bytes = Buffer.from(Uint8Array.from({ length: 3 << 20 }, (_, i) => (i * 7) >> 3));
  let drained = false;
  stream.on('drain', () => {
    drained = true;
  });
  stream.write(bytes);
  stream.end('!');
  t.ok(stream.writableLength > 1 << 20, 'what waits is told');
  const chunks: Buffer[] = [];
  for await (const chunk of reader) chunks.push(chunk);
  t.ok(Buffer.concat(chunks).equals(Buffer.concat([bytes, Buffer.from('!')])));
  t.notOk(drained && stream.writableLength > 0);
});

t.test('a peer’s end leaves the other direction open; its loss is an error and closes the stream', async (t) => {
  const path = socketPath(t);
  const server = await listen(t, path);
  const client = await connectTo({ kind: 'unix', path });
  const stream = await server.connection();
  client.end('last');
  let got = '';
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) got += chunk;
  t.equal(got, 'last');
  stream.write('answer');
  t.equal(String((await once(client, 'data'))[0]), 'answer');
  client.destroy();
  await once(client, 'close');
  const lost = once(stream, 'error').catch((error) => [error]);
  stream.write('to nobody');
  t.match((await lost)[0], { code: 'EPIPE' });
  t.ok(stream.destroyed);
});

t.test('a socket that nobody listens on, or that is none, is refused in QEMU’s words', async (t) => {
  const path = socketPath(t);
  await t.rejects(connectTo({ kind: 'unix', path }), {
    message: `Failed to connect to '${path}': No such file or directory`,
  });
  await t.rejects(connectTo({ kind: 'tcp', host: '127.0.0.1', port: 1 }), {
    message: "Failed to connect to '127.0.0.1:1': Connection refused",
  });
  await t.rejects(connectTo({ kind: 'unix', path: 'x'.repeat(200) }), /must have 1 to 107 bytes/);
  const events = { connection: () => undefined, failed: () => undefined };
  t.throws(() => SocketListener.adopt(987_654, events), {
    message: 'fd 987654 cannot be listened on: Bad file descriptor',
  });
  const file = openSync('/dev/null', 'r');
  t.throws(() => SocketListener.adopt(file, events), {
    message: `fd ${file} cannot be listened on: it is no stream socket`,
  });
  t.ok(isOpen(file), 'it stays its owner’s');
  closeSync(file);
});

t.test('an abstract name is listened on and leaves no file', async (t) => {
  const path = `\0vmhostd-test-${process.pid}`;
  const server = await listen(t, path);
  const client = await connectTo({ kind: 'unix', path });
  t.teardown(() => client.destroy());
  const stream = await server.connection();
  client.write('hello');
  t.equal(String((await once(stream, 'data'))[0]), 'hello');
});

t.test('a watcher refuses what the kernel cannot wait for, and what is watched already', (t) => {
  const file = openSync('/proc/self/status', 'r');
  t.teardown(() => closeSync(file));
  t.throws(() => new FdWatcher(file, () => undefined), { syscall: 'epoll_ctl', code: 'EPERM' });
  t.throws(() => new FdWatcher(987_654, () => undefined), { code: 'EBADF' });
  const path = socketPath(t);
  void listen(t, path).then(() => {
    const client = new FdClient(path);
    t.throws(() => new FdWatcher(client.fd, () => undefined), { message: `fd ${client.fd} is watched already` });
    client.close();
    t.end();
  });
});

t.test('a thousand connections leave no fd behind', async (t) => {
  const path = socketPath(t);
  const server = await listen(t, path);
  const before = openFds();
  for (let i = 0; i < 1000; i++) {
    const client = await connectTo({ kind: 'unix', path });
    const stream = await server.connection();
    client.write('x');
    await once(stream, 'data');
    client.destroy();
    stream.destroy();
    await once(stream, 'close');
  }
  t.equal(openFds(), before);
});

t.test('without an fd to spare, clients wait, which is told once, and are served when there is one', async (t) => {
  const path = socketPath(t);
  const server = await listen(t, path);
  const client = await connectTo({ kind: 'unix', path });
  t.teardown(() => client.destroy());
  t.ok(await server.connection());
  // The client's own fd comes first; then the table is filled to its limit.
  const limit = Number(/Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
  if (!(limit <= 100_000)) {
    t.comment(`this process may have ${limit} open files, too many to open`);
    return;
  }
  const late = new FdClient(path);
  t.teardown(() => late.close());
  const hogs: number[] = [];
  for (;;) {
    try {
      hogs.push(openSync('/dev/null', 'r'));
    } catch {
      break;
    }
  }
  await server.change();
  t.match(server.failures, [{ code: 'EMFILE' }]);
  hogs.forEach(closeSync);
  t.ok(await server.connection());
  t.equal(server.failures.length, 1);
});
