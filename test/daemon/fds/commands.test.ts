import { closeSync, openSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { fdCommands } from '../../../daemon/commands/fds.js';
import type { CommandTargets } from '../../../daemon/commands/targets.js';
import { FdSets } from '../../../daemon/fds/fd_sets.js';
import { FdClient } from '../../helpers/fd_client.js';
import { modelServer } from '../../helpers/model_server.js';
import { socketPath } from '../qmp/socket_path.js';

const NO_FD = 'No file descriptor supplied via SCM_RIGHTS';

/** A server with the commands about fds, on a socket; files whose open fds can be counted. */
async function serve(t: Tap, options: { running?: boolean } = {}) {
  const path = socketPath(t);
  const fdSets = new FdSets();
  let wake: () => void = () => undefined;
  const server = modelServer({
    handlers: fdCommands({ fdSets } as CommandTargets),
    lastClientGone: () => {
      if (options.running) fdSets.clear();
      wake();
    },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const dir = dirname(path);
  const own: number[] = [];
  const file = (name: string) => {
    writeFileSync(join(dir, name), '');
    const fd = openSync(join(dir, name), 'r');
    own.push(fd);
    return fd;
  };
  t.teardown(() => own.forEach(closeSync));
  /** The files that this process holds for clients: their names, once for each fd but our own. */
  const held = () => {
    const counts = new Map<string, number>();
    for (const fd of readdirSync('/proc/self/fd')) {
      if (own.includes(Number(fd))) continue;
      try {
        const target = readlinkSync(`/proc/self/fd/${fd}`);
        if (dirname(target) === dir) counts.set(target.slice(dir.length + 1), 1);
      } catch {
        // The fd of the directory that was read.
      }
    }
    return [...counts.keys()].sort().join(' ');
  };
  /** Closes the one client; resolves once the server has seen it. */
  const gone = async (client: FdClient) => {
    const seen = new Promise<void>((resolve) => {
      wake = resolve;
    });
    client.close();
    await seen;
  };
  return { path, file, held, server, gone };
}

type Tap = { teardown(action: () => unknown): unknown };

t.test('getfd takes the first fd of its message, or of an earlier one, and closes what it replaces', async (t) => {
  const { path, file, held } = await serve(t);
  const [a, b, c] = [file('a'), file('b'), file('c')];
  const client = await FdClient.negotiated(path);
  t.teardown(() => client.close());
  t.equal(await client.execute('getfd', { fdname: 'x' }), NO_FD);
  t.same(await client.execute('getfd', { fdname: 'x' }, [a, b]), {});
  t.equal(held(), 'a', 'the second fd of the message is closed');
  t.equal(await client.execute('getfd', { fdname: 'y' }), NO_FD);
  t.same(await client.execute('getfd', { fdname: 'x' }, [c]), {});
  t.equal(held(), 'c');
  t.match(await client.execute('getfd', { fdname: '1x' }, [a]), /not starting with a digit/);
  t.equal(held(), 'c');
  t.match(await client.execute('query-name', {}, [a]), {});
  t.match(await client.execute('query-name', {}, [b]), {});
  t.equal(held(), 'b c', 'an fd that no command took gives way to a later one');
  t.same(await client.execute('getfd', { fdname: 'late' }), {});
  t.same(await client.execute('closefd', { fdname: 'late' }), {});
  t.equal(held(), 'c');
  t.equal(await client.execute('closefd', { fdname: 'late' }), "File descriptor named 'late' not found");
});

t.test('each of several commands in a row gets the fd that came with it', async (t) => {
  const { path, file, held } = await serve(t);
  const client = await FdClient.negotiated(path);
  t.teardown(() => client.close());
  const before = client.text.length;
  for (const name of ['a', 'b', 'c']) {
    client.send(JSON.stringify({ execute: 'getfd', arguments: { fdname: name } }), [file(name)]);
  }
  await client.until((text) => text.slice(before).split('\r\n').length === 4);
  t.equal(client.text.slice(before), '{"return": {}}\r\n'.repeat(3));
  t.equal(held(), 'a b c');
  t.same(await client.execute('closefd', { fdname: 'b' }), {});
  t.equal(held(), 'a c');
});

t.test(
  'names outlive their client; what it passed without using does not, nor do sets while the guest runs',
  async (t) => {
    const options = { running: false };
    const { path, file, held, server, gone } = await serve(t, options);
    const first = await FdClient.negotiated(path);
    t.same(await first.execute('getfd', { fdname: 'n' }, [file('named')]), {});
    t.match(await first.execute('add-fd', { opaque: 'o' }, [file('set')]), { 'fdset-id': 0 });
    await first.execute('query-name', {}, [file('loose')]);
    t.equal(held(), 'loose named set');
    await gone(first);
    t.equal(held(), 'named set');
    options.running = true;
    const second = await FdClient.negotiated(path);
    t.match(await second.execute('query-fdsets'), [{ 'fdset-id': 0, fds: [{ opaque: 'o' }] }]);
    t.equal(await second.execute('remove-fd', { 'fdset-id': 1 }), "File descriptor named 'fdset-id:1' not found");
    await gone(second);
    const third = await FdClient.negotiated(path);
    t.same(await third.execute('query-fdsets'), []);
    t.equal(held(), 'named');
    t.equal(await third.execute('add-fd'), NO_FD);
    third.close();
    await server.close();
    t.equal(held(), '');
  },
);

t.test('a client that floods fds makes the daemon hold no more than one message’s', async (t) => {
  const { path, file, held } = await serve(t);
  const client = await FdClient.negotiated(path);
  t.teardown(() => client.close());
  const fd = file('flood');
  const before = readdirSync('/proc/self/fd').length;
  let most = 0;
  for (let i = 0; i < 200; i++) {
    client.send(' ', new Array(200).fill(fd));
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, readdirSync('/proc/self/fd').length - before);
  }
  await client.execute('query-name');
  t.ok(most > 0 && most <= 400, `${most} at most, while one replaces the other`);
  t.equal(held(), 'flood');
  t.same(await client.execute('getfd', { fdname: 'x' }), {});
  t.equal(readdirSync('/proc/self/fd').length - before, 1);
});
