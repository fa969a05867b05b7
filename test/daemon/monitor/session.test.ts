/** Sessions of the human monitor over a real socket. Greeting, prompt and echo were recorded from QEMU 7.2.22. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { MonitorSessions } from '../../../daemon/monitor/session.js';
import type { CommandHandlers } from '../../../daemon/qmp/server.js';
import { within } from '../../helpers/daemons.js';
import { SILENT } from '../../helpers/model_server.js';
import { socketPath } from '../qmp/socket_path.js';
import { modelMonitor } from './model.js';

const GREETING = "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ";

/** The end of a socket that a test holds. */
class Client {
  text = '';
  readonly socket: Socket;
  readonly ended: Promise<unknown>;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1').on('data', (text) => {
      this.text += text;
    });
    this.ended = once(socket, 'end');
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** All that came, once it ends like this. */
  async until(end: string): Promise<string> {
    while (!this.text.endsWith(end)) await within(5000, `${JSON.stringify(end)} comes`, once(this.socket, 'data'));
    const { text } = this;
    this.text = '';
    return text;
  }

  /** What commands sent in one write show, without the echo. */
  async shows(text: string): Promise<string> {
    this.send(`${text}\n`);
    return withoutEcho(await this.until('\r\n(qemu) '));
  }

  /** Sends the rest and half-closes, as socat does. */
  async finish(text: string): Promise<string> {
    this.socket.end(text, 'latin1');
    await within(5000, 'the session ends', this.ended);
    return this.text;
  }
}

const withoutEcho = (text: string) => text.replaceAll(/[^\n]*\x1b\[K\r\n/g, '');

interface Monitor {
  readonly sessions: MonitorSessions;
  readonly connectClient: () => Promise<Client>;
}

async function monitor(t: Test, handlers: CommandHandlers = {}): Promise<Monitor> {
  const path = socketPath(t);
  const sessions = new MonitorSessions(modelMonitor(handlers), SILENT);
  const server = createServer({ allowHalfOpen: true }, sessions.open);
  server.listen(path);
  await once(server, 'listening');
  const clients: Client[] = [];
  t.teardown(() => {
    for (const { socket } of clients) socket.destroy();
    server.close();
  });
  const connectClient = async () => {
    const client = new Client(connect({ path, allowHalfOpen: true }));
    clients.push(client);
    t.equal(await client.until('(qemu) '), GREETING);
    return client;
  };
  return { sessions, connectClient };
}

t.test('a client is greeted, and what it types is echoed and answered', async (t) => {
  const client = await (await monitor(t)).connectClient();
  client.send('p 1\r');
  t.equal(await client.until('0x1\r\n(qemu) '), 'p\x1b[K\x1b[Dp \x1b[K\x1b[D\x1b[Dp 1\x1b[K\r\n0x1\r\n(qemu) ');
  client.send('\n');
  t.equal(await client.until('(qemu) '), '\r\n(qemu) ');
  client.send('p 2\r\n');
  t.match(await client.until('\r\n(qemu) \r\n(qemu) '), /0x2\r\n\(qemu\) \r\n\(qemu\) $/);
});

t.test('several commands in one write run in order, each to its end; half-close answers them all', async (t) => {
  const order: string[] = [];
  const { connectClient } = await monitor(t, {
    stop: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('stop');
    },
    cont: () => void order.push('cont'),
    'query-name': () => ({ name: 'golden' }),
  });
  const client = await connectClient();
  t.equal(
    withoutEcho(await client.finish('stop\ncont\nfoo\ninfo name\nunfinished')).replace(/unf.*/s, ''),
    "unknown command: 'foo'\r\ngolden\r\n(qemu) u\x1b[K\x1b[Dun\x1b[K\x1b[D\x1b[D",
  );
  t.strictSame(order, ['stop', 'cont']);
});

t.test('the history outlives a client; the line it was typing does not', async (t) => {
  const { connectClient } = await monitor(t);
  const first = await connectClient();
  await first.shows('p 1');
  await first.finish('half a line');
  const second = await connectClient();
  t.equal(await second.shows('info history'), "0: 'p 1'\r\n1: 'info history'\r\n(qemu) ");
});

t.test('cpu and the last format are kept; text is UTF-8', async (t) => {
  const client = await (await monitor(t)).connectClient();
  t.equal(await client.shows('p/d 16'), '16\r\n(qemu) ');
  t.equal(await client.shows('p 0x10'), '16\r\n(qemu) ');
  t.equal(await client.shows(Buffer.from('é').toString('latin1')), "unknown command: '\xc3\xa9'\r\n(qemu) ");
});

t.test('tab completes commands and their arguments', async (t) => {
  const client = await (await monitor(t)).connectClient();
  client.send('migrate_set_p\tdown\t');
  t.match(await client.until('migrate_set_parameter downtime-limit \x1b[K'), /\(qemu\)|downtime/);
  client.send('\x17\x17info hist\t\n');
  t.match(await client.until('\r\n(qemu) '), /1: 'info history '|0: 'info history '/);
});

t.test('migrate without -d holds the prompt back until the migration is over', async (t) => {
  let status: 'active' | 'completed' = 'active';
  let asked: () => void = () => undefined;
  const wasAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const { connectClient } = await monitor(t, {
    migrate: () => undefined,
    'query-migrate': () => {
      asked();
      return { status };
    },
    'query-name': () => ({ name: 'golden' }),
  });
  const client = await connectClient();
  client.send('migrate tcp:1:2\ninfo name\n');
  await wasAsked;
  t.notMatch(client.text, /\(qemu\)/);
  status = 'completed';
  t.match(await client.until('golden\r\n(qemu) '), /tcp:1:2\x1b\[K\r\n\(qemu\) /);
});

t.test('quit shows no further prompt and reads no further line', async (t) => {
  const calls: string[] = [];
  let quitted: () => void = () => undefined;
  const quit = new Promise<void>((resolve) => {
    quitted = resolve;
  });
  const { connectClient } = await monitor(t, {
    quit: () => {
      calls.push('quit');
      quitted();
    },
    stop: () => void calls.push('stop'),
  });
  const client = await connectClient();
  client.send('quit\nstop\n');
  await quit;
  t.match(await client.until('quit\x1b[K\r\n'), /quit\x1b\[K\r\n$/);
  t.strictSame(calls, ['quit']);
});

t.test('a client that does not read stops being read, and holds nobody up', async (t) => {
  const { connectClient } = await monitor(t);
  const deaf = await connectClient();
  deaf.socket.pause();
  const flood = 'help\n'.repeat(500) + '\0'.repeat(1 << 20);
  let written = false;
  deaf.socket.write(flood, () => {
    written = true;
  });
  const other = await connectClient();
  t.equal(await other.shows('p 1'), '0x1\r\n(qemu) ');
  t.notOk(written, 'most of the flood is still with its sender');
  deaf.socket.resume();
  await within(20_000, 'it is answered all the same', once(deaf.socket, 'drain'));
});

t.test('closing ends every session with what it was sent, and a deaf one after a while', async (t) => {
  const { sessions, connectClient } = await monitor(t);
  const client = await connectClient();
  const deaf = await connectClient();
  deaf.socket.pause();
  deaf.send('help\n'.repeat(2000));
  client.send('p 1\n');
  await client.until('0x1\r\n(qemu) ');
  client.send('p');
  await client.until('p\x1b[K');
  await within(5000, 'all sessions are closed', sessions.close(200));
  await within(5000, 'its client sees the end', client.ended);
  t.equal(client.text, '');
  await within(5000, 'closing twice is no fault', sessions.close());
});

t.test('a client that goes away in the middle is no fault', async (t) => {
  const errors: unknown[] = [];
  let stopped: () => void = () => undefined;
  const stopping = new Promise<void>((resolve) => {
    stopped = resolve;
  });
  const path = socketPath(t);
  const { open } = new MonitorSessions(modelMonitor({ stop: () => stopping }), {
    ...SILENT,
    error: (...args) => errors.push(args),
  });
  const gone: Array<Promise<unknown>> = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    gone.push(once(socket, 'close'));
    open(socket);
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  for (const text of ['p', 'stop\n', 'help\n'.repeat(100)]) {
    const socket = connect({ path });
    await once(socket, 'data');
    socket.write(text);
    await once(socket, 'data');
    socket.destroy();
  }
  stopped();
  await within(5000, 'all are closed', Promise.allSettled(gone));
  t.strictSame(errors, []);
});
