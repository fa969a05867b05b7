import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CharDevice } from '../../../daemon/chardev/char_device.js';
import { type Chardev, PendingInput } from '../../../daemon/chardev/chardev.js';
import { SerialConsole } from '../../../daemon/chardev/serial_console.js';
import { StreamChardev } from '../../../daemon/chardev/stream_chardev.js';
import type { ChardevBackend } from '../../../daemon/cli/chardev_options.js';
import type { Serial16550 } from '../../../daemon/devices/serial16550.js';

function directory(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-char-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A chardev with a serial port's end on it. */
async function openChardev(backend: ChardevBackend): Promise<Chardev> {
  const device = await CharDevice.open({ id: 'c', backend }, () => undefined);
  const chardev = new StreamChardev(device);
  if (backend.kind === 'socket' && backend.wait) await device.firstClient;
  return {
    write: (bytes: Uint8Array) => chardev.write(bytes),
    onInput: (take: (bytes: Uint8Array) => number) => chardev.onInput(take),
    resume: () => chardev.resume(),
    close: async () => {
      await chardev.close();
      device.close();
    },
  };
}

async function text(socket: Socket, length: number): Promise<string> {
  let got = '';
  while (got.length < length) got += ((await once(socket, 'data'))[0] as Buffer).toString();
  return got;
}

/** Collects input, taking at most `room` bytes at a time. */
function sink(chardev: Chardev, room = Number.POSITIVE_INFINITY) {
  const state = { text: '', room };
  const waiting: (() => void)[] = [];
  chardev.onInput((bytes) => {
    const n = Math.min(state.room, bytes.length);
    state.text += Buffer.from(bytes.subarray(0, n)).toString();
    for (const wake of waiting.splice(0)) wake();
    return n;
  });
  return { state, more: () => new Promise<void>((resolve) => waiting.push(resolve)) };
}

t.test('a file is emptied first and holds what was written; one that cannot be opened is refused', async (t) => {
  const path = join(directory(t), 'f');
  writeFileSync(path, 'old and long');
  const file = await openChardev({ kind: 'file', path, append: false });
  await file.write(Buffer.from('new'));
  await file.write(Buffer.from('er'));
  file.onInput(() => 0);
  file.resume();
  await file.close();
  t.equal(readFileSync(path, 'utf8'), 'newer');
  await t.rejects(openChardev({ kind: 'file', path: '/nonexistent/f', append: false }), {
    message: "Could not open '/nonexistent/f': No such file or directory",
  });
});

t.test('nothing comes from the null device, and everything goes', async (t) => {
  const nothing = await openChardev({ kind: 'null' });
  nothing.onInput(() => {
    t.fail('no input');
    return 0;
  });
  await nothing.write(Buffer.from('x'));
  nothing.resume();
  await nothing.close();
  t.pass();
});

t.test('a listening socket serves one peer at a time, goes on with the next, and its file goes away', async (t) => {
  const path = join(directory(t), 's');
  const chardev = await openChardev({ kind: 'socket', address: { kind: 'unix', path }, server: true, wait: false });
  await chardev.write(Buffer.from('to nobody'));
  const { state, more } = sink(chardev);
  const first = connect(path);
  await once(first, 'connect');
  const arrived = more();
  first.write('in');
  await arrived;
  t.equal(state.text, 'in');
  const second = connect(path);
  await once(second, 'close'); // the line is taken
  await chardev.write(Buffer.from('out'));
  t.equal(await text(first, 3), 'out', 'what was written to nobody is not kept');
  first.destroy();
  let third: Socket;
  for (;;) {
    // The first peer's end is seen in the daemon's own time.
    third = connect(path).on('error', () => {});
    const closed = new Promise<boolean>((resolve) => third.once('close', () => resolve(false)));
    await once(third, 'connect');
    const alive = more().then(() => true);
    third.write('!');
    if (await Promise.race([alive, closed])) break;
  }
  await chardev.write(Buffer.from('again'));
  t.equal(await text(third, 5), 'again');
  await chardev.close();
  t.notOk(existsSync(path));
});

t.test('wait=on opens once somebody is connected', async (t) => {
  const path = join(directory(t), 's');
  const opening = openChardev({ kind: 'socket', address: { kind: 'unix', path }, server: true, wait: true });
  let open = false;
  void opening.then(() => {
    open = true;
  });
  let peer: Socket | undefined;
  while (!peer) {
    const attempt = connect(path);
    peer = await once(attempt, 'connect').then(
      () => attempt,
      () => undefined,
    );
    if (!peer) t.equal(open, false);
  }
  const chardev = await opening;
  await chardev.write(Buffer.from('hi'));
  t.equal(await text(peer, 2), 'hi');
  peer.destroy();
  await chardev.close();
});

t.test('a FIFO that is not there is told by name', async (t) => {
  await t.rejects(openChardev({ kind: 'pipe', path: '/nonexistent/x' }), {
    message: "Could not open '/nonexistent/x': No such file or directory",
  });
});

t.test('a connecting socket needs somebody there', async (t) => {
  const path = join(directory(t), 's');
  await t.rejects(openChardev({ kind: 'socket', address: { kind: 'unix', path }, server: false, wait: false }), {
    message: `Failed to connect to '${path}': No such file or directory`,
  });
  const server = createServer();
  server.listen(path);
  await once(server, 'listening');
  const connection = once(server, 'connection');
  const chardev = await openChardev({ kind: 'socket', address: { kind: 'unix', path }, server: false, wait: false });
  const [peer] = (await connection) as [Socket];
  await chardev.write(Buffer.from('hello'));
  t.equal(await text(peer, 5), 'hello');
  peer.destroy();
  server.close();
  await chardev.close();
});

t.test('input for which there is no room waits, holds its source back, and is taken in order', (t) => {
  const flow: string[] = [];
  const input = new PendingInput({ pause: () => flow.push('pause'), resume: () => flow.push('resume') });
  let room = 0;
  let got = '';
  input.arrived(Buffer.from('ab'));
  t.equal(flow.at(-1), 'pause', 'nobody takes it yet');
  input.onInput((bytes) => {
    const n = Math.min(room, bytes.length);
    got += Buffer.from(bytes.subarray(0, n)).toString();
    return n;
  });
  input.arrived(Buffer.from('cd'));
  room = 3;
  input.offer();
  t.equal(got, 'abc');
  t.equal(flow.at(-1), 'pause');
  input.offer();
  t.equal(got, 'abcd');
  t.equal(flow.at(-1), 'resume');
  t.end();
});

/** A serial port's output side over a string, and a chardev whose writes end when told. */
function consoleOver(output: string[]) {
  const written: string[] = [];
  const errors: string[] = [];
  let finish: ((error?: Error) => void) | undefined;
  const serial = {
    receive: () => 0,
    get txPending() {
      return output.length;
    },
    drainTx(target: Uint8Array) {
      const next = output.shift();
      return next === undefined ? 0 : Buffer.from(next).copy(target);
    },
  } as unknown as Serial16550;
  const chardev = {
    write: (bytes: Uint8Array) =>
      new Promise<void>((resolve, reject) => {
        written.push(Buffer.from(bytes).toString());
        finish = (error) => (error ? reject(error) : resolve());
      }),
    onInput: () => {},
    resume: () => {},
    close: () => Promise.resolve(),
  };
  const console = new SerialConsole(serial, chardev, (error) => errors.push(error.message));
  const next = async (error?: Error) => {
    finish?.(error);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { console, written, errors, next };
}

t.test('a slow reader gets one chunk at a time; the rest stays in the port', async (t) => {
  const output = ['a', 'b', 'c'];
  const { console, written, next } = consoleOver(output);
  console.activity();
  console.activity();
  t.same(written, ['a']);
  t.same(output, ['b', 'c']);
  await next();
  await next();
  await next();
  t.same(written, ['a', 'b', 'c']);
});

t.test('output that cannot be written is lost and told; what comes after is tried again', async (t) => {
  const { console, written, errors, next } = consoleOver(['a', 'b']);
  const drained = console.drain();
  await next(new Error('no space left on device'));
  await next();
  await drained;
  t.same(written, ['a', 'b']);
  t.same(errors, ['no space left on device']);
});

t.test(
  'output that is held for a migration goes on when it fails, and is dropped when it is carried away',
  async (t) => {
    for (const discard of [false, true]) {
      const { console, written, next } = consoleOver(['a', 'b']);
      console.hold();
      console.activity();
      t.same(written, []);
      console.release(discard);
      await next();
      await next();
      t.same(written, discard ? [] : ['a', 'b']);
    }
  },
);
