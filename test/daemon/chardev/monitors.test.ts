/** Monitors on every kind of chardev, by real daemons. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { QmpClient } from '../../../client/qmp_client.js';
import { listenOn } from '../../../kvm/sockets.js';
import { DaemonProcess, MACHINE_NONE, QMP_SOCKET, VMHOSTD } from '../../helpers/daemon.js';
import { socketPath } from '../qmp/socket_path.js';

const NEGOTIATE = '{"execute":"qmp_capabilities"}\n';
const QUERY = '{"execute":"query-chardev"}\n';
const none = (...more: string[]) => [...MACHINE_NONE, ...QMP_SOCKET, ...more];

/** What came over `socket` once it matches. */
function until(socket: NodeJS.ReadableStream, pattern: RegExp): Promise<string> {
  let text = '';
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (pattern.test(text)) resolve(text);
    });
    socket.on('close', () => reject(new Error(`ended after ${JSON.stringify(text)}, before ${pattern}`)));
  });
}

/** A daemon that has the fds `inherited` under numbers from 3 on, and only ends with the test. */
function spawnWith(t: Test, inherited: readonly number[], args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [VMHOSTD, ...MACHINE_NONE, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', ...inherited],
  });
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  return child;
}

t.test('query-chardev tells of each kind in QEMU’s words, and who is connected', async (t) => {
  const peer = createServer(() => undefined);
  const dir = socketPath(t).replace('qmp.sock', '');
  peer.listen(join(dir, 'peer'));
  await once(peer, 'listening');
  t.teardown(() => peer.close());
  spawnSync('mkfifo', [join(dir, 'p.in'), join(dir, 'p.out')]);
  const daemon = new DaemonProcess(
    t,
    none(
      ...['-chardev', 'socket,id=ts,host=127.0.0.1,port=0,server=on,wait=off'],
      ...['-chardev', `socket,id=cu,path=${join(dir, 'peer')}`],
      ...['-chardev', `pipe,id=pi,path=${join(dir, 'p')}`, '-chardev', 'null,id=n', '-chardev', 'stdio,id=s'],
      ...['-chardev', 'file,id=f,path=@/f', '-serial', 'null'],
      ...['-chardev', 'socket,id=u,path=@/u,server=on,wait=off', '-mon', 'chardev=u,mode=control'],
    ),
  );
  const qmp = await daemon.qmp();
  const shown = async () =>
    Object.fromEntries(
      (await qmp.execute('query-chardev')).map(({ label, filename, 'frontend-open': open }) => [
        label,
        `${filename.replace(daemon.dir, '@').replace(/:\d+(?=,|$| )/g, ':PORT')}${open ? ' open' : ''}`,
      ]),
    );
  t.same(await shown(), {
    compat_monitor0: 'unix:@/qmp,server=on open',
    cu: 'unix:',
    f: 'file',
    n: 'null',
    pi: 'pipe',
    s: 'stdio',
    serial0: 'null',
    ts: 'disconnected:tcp:127.0.0.1:PORT,server=on',
    u: 'disconnected:unix:@/u,server=on open',
  });
  const port = Number(
    /:(\d+),/.exec((await qmp.execute('query-chardev')).find(({ label }) => label === 'ts')?.filename ?? '')?.[1],
  );
  const [overTcp, overUnix] = [connect(port, '127.0.0.1'), connect(daemon.path('u'))];
  await Promise.all([until(overUnix, /QMP/), once(overTcp, 'ready')]);
  t.match(await shown(), {
    ts: 'tcp:127.0.0.1:PORT,server=on <-> 127.0.0.1:PORT',
    u: 'unix:@/u,server=on open',
  });
  overTcp.destroy();
  overUnix.destroy();
  t.equal(statSync(daemon.path('u')).mode & 0o777, 0o600);
  await qmp.execute('quit');
  t.equal(await daemon.exited, 0);
  t.same([daemon.path('u'), daemon.path('qmp')].map(existsSync), [false, false]);
});

t.test('QMP over standard input and output goes on after the end of its input', async (t) => {
  const daemon = new DaemonProcess(t, [...MACHINE_NONE, '-qmp', 'stdio']);
  daemon.child.stdin?.end(`${NEGOTIATE}{"execute":"query-status"}`);
  const out = daemon.child.stdout as NodeJS.ReadableStream;
  t.match(
    await until(out, /"return"[^\n]*\n[^\n]*"return"[^\n]*\n/),
    /^\{"QMP": .*\}\r\n\{"return": \{\}\}\r\n\{"return": \{"status"/,
  );
  const last = until(out, /SHUTDOWN/);
  daemon.child.kill('SIGTERM');
  t.match(await last, /"event": "SHUTDOWN"/, 'events are still written');
  t.equal(await daemon.exited, 0);
});

t.test('a daemon with neither vCPUs nor sockets stays until a signal', async (t) => {
  const daemon = new DaemonProcess(t, [...MACHINE_NONE, '-monitor', 'stdio', '-qmp', 'null']);
  const out = daemon.child.stdout as NodeJS.ReadableStream;
  const answered = until(out, /VM status: .*\(qemu\) $/s);
  daemon.child.stdin?.end('info status\n');
  await answered;
  // Longer than Node takes to end where nothing is left to wait for.
  t.equal(await Promise.race([daemon.exited, delay(500, 'still there')]), 'still there');
  daemon.child.kill('SIGTERM');
  t.equal(await daemon.exited, 0);
});

t.test('QMP over standard streams that are files answers all that the file holds', async (t) => {
  const path = socketPath(t);
  writeFileSync(path, `${NEGOTIATE}${QUERY}{"execute":"quit"}\n`);
  const [input, output] = [openSync(path, 'r'), openSync(`${path}.out`, 'w')];
  const child = spawn(process.execPath, [VMHOSTD, ...MACHINE_NONE, '-qmp', 'stdio'], {
    stdio: [input, output, 'inherit'],
  });
  closeSync(input);
  closeSync(output);
  t.same(await once(child, 'close'), [0, null]);
  t.match(readFileSync(`${path}.out`, 'utf8'), /"label": "compat_monitor0".*SHUTDOWN.*\{"return": \{\}\}\r\n$/s);
});

t.test('QMP over a pair of FIFOs stays when a client goes', async (t) => {
  const path = socketPath(t);
  spawnSync('mkfifo', [`${path}.in`, `${path}.out`]);
  const daemon = new DaemonProcess(t, [...MACHINE_NONE, '-qmp', `pipe:${path}`]);
  // Reading first: the daemon keeps both FIFOs open, so neither open of a client waits for it longer than for its start.
  const cat = spawn('cat', [`${path}.out`], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => cat.kill());
  await until(cat.stdout, /QMP/);
  writeFileSync(`${path}.in`, NEGOTIATE);
  await until(cat.stdout, /"return"/);
  const answer = until(cat.stdout, /"filename"/);
  writeFileSync(`${path}.in`, QUERY);
  t.match(await answer, /"filename": "pipe"/);
  daemon.child.kill('SIGTERM');
  t.equal(await daemon.exited, 0);
});

t.test('QMP goes to a file, of which nothing is read', async (t) => {
  const daemon = new DaemonProcess(t, none('-qmp', 'file:@/out'));
  const qmp = await daemon.qmp();
  await qmp.execute('quit');
  await daemon.exited;
  t.match(readFileSync(daemon.path('out'), 'utf8'), /^\{"QMP": .*\}\r\n$/);
});

t.test('an inherited socket that listens serves clients, as libvirt passes it', async (t) => {
  const path = socketPath(t);
  const { fd } = listenOn({ kind: 'unix', path });
  const child = spawnWith(
    t,
    [fd],
    [
      ...['-chardev', 'socket,id=charmonitor,fd=3,server=on,wait=off'],
      ...['-mon', 'chardev=charmonitor,id=monitor,mode=control'],
    ],
  );
  closeSync(fd);
  for (let turn = 0; turn < 2; turn++) {
    const qmp = await QmpClient.connect(`unix:${path}`);
    t.match(await qmp.execute('query-chardev'), [
      { label: 'charmonitor', filename: `unix:${path},server=on`, 'frontend-open': true },
    ]);
    if (turn === 0) await qmp.close();
    else await qmp.execute('quit');
  }
  t.same(await once(child, 'close'), [0, null]);
  t.ok(existsSync(path), 'the file is its maker’s');
});

t.test('an fd that is no such socket is one sentence', async (t) => {
  const { fd } = listenOn({ kind: 'unix', path: socketPath(t) });
  t.teardown(() => closeSync(fd));
  const file = openSync('/dev/null', 'r');
  t.teardown(() => closeSync(file));
  const refusal = async (options: string) => {
    const child = spawnWith(t, [fd, file], ['-chardev', `socket,id=c,${options}`]);
    let text = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await once(child, 'close');
    return `${child.exitCode} ${text}`;
  };
  t.equal(await refusal('fd=3'), "1 vmhostd: fd 3 cannot be used: it listens, which needs 'server=on'\n");
  t.equal(await refusal('fd=4,server=on'), '1 vmhostd: fd 4 cannot be listened on: it is no stream socket\n');
  t.equal(await refusal('fd=99,server=on'), '1 vmhostd: fd 99 cannot be listened on: Bad file descriptor\n');
});

t.test('without server=on the daemon connects to its client, over UNIX sockets and TCP', async (t) => {
  const path = socketPath(t);
  for (const where of ['unix', 'tcp']) {
    const manager = createServer();
    if (where === 'unix') manager.listen(path);
    else manager.listen(0, '127.0.0.1');
    await once(manager, 'listening');
    const address = manager.address();
    const target = typeof address === 'object' ? `tcp:127.0.0.1:${address?.port}` : `unix:${path}`;
    const connection = once(manager, 'connection');
    const daemon = new DaemonProcess(t, [...MACHINE_NONE, '-qmp', target]);
    const [socket] = (await connection) as [Socket];
    await until(socket, /QMP/);
    socket.write(`${NEGOTIATE}${QUERY}`);
    const filename = where === 'unix' ? '"unix:"' : `"tcp:127.0.0.1:\\d+ <-> ${target.slice(4)}"`;
    t.match(await until(socket, /filename/), new RegExp(`"filename": ${filename}`));
    socket.end('{"execute":"quit"}');
    t.equal(await daemon.exited, 0);
    manager.close();
  }
  const daemon = new DaemonProcess(t, [...MACHINE_NONE, '-qmp', `unix:${path}`]);
  t.equal(await daemon.exited, 1);
  t.equal(daemon.stderr, `vmhostd: Failed to connect to '${path}': No such file or directory\n`);
});

t.test('a human monitor greets on its socket and answers', async (t) => {
  const daemon = new DaemonProcess(t, none('-monitor', 'unix:@/hmp,server=on,wait=off'));
  await daemon.qmp();
  const socket = connect(daemon.path('hmp'));
  t.match(await until(socket, /\(qemu\) /), /^QEMU .* monitor - type 'help' for more information\r\n\(qemu\) $/);
  socket.write('info status\n');
  t.match(await until(socket, /VM status/), /VM status: /);
  socket.write('quit\n');
  t.equal(await daemon.exited, 0);
});

t.test('wait=on holds the start until somebody is connected, and says for whom', async (t) => {
  const daemon = new DaemonProcess(t, [...MACHINE_NONE, '-qmp', 'unix:@/w,server=on', '-pidfile', '@/pid']);
  await daemon.until('the sentence', () => /waiting/.test(daemon.stderr) || undefined);
  t.equal(daemon.stderr, `vmhostd: info: waiting for connection on: disconnected:unix:${daemon.path('w')},server=on\n`);
  const qmp = await QmpClient.connect(`unix:${daemon.path('w')}`);
  t.equal((await qmp.execute('query-status')).running, true);
  await qmp.execute('quit');
  t.equal(await daemon.exited, 0);
});

t.test(
  'a client that does not read, and one that floods, delay neither the others nor the daemon, and are bounded',
  async (t) => {
    const daemon = new DaemonProcess(t, none());
    const qmp = await daemon.qmp();
    const rss = () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8'))?.[1]) * 1024;
    const [deaf, endless] = [connect(daemon.path('qmp')), connect(daemon.path('qmp'))];
    for (const socket of [deaf, endless]) socket.on('error', () => undefined);
    deaf.pause();
    deaf.write(NEGOTIATE);
    const before = rss();
    const piece = Buffer.alloc(1 << 20, QUERY);
    let sent = 0;
    const feed = () => {
      while (sent < 256 && deaf.write(piece)) sent++;
    };
    deaf.on('drain', feed);
    feed();
    endless.write(`${NEGOTIATE}{"execute":"`);
    const long = Buffer.alloc(1 << 20, 'x');
    let bytes = 0;
    const flood = () => {
      while (bytes < 200 << 20 && endless.write(long)) bytes += long.length;
    };
    endless.on('drain', flood);
    flood();
    const times: number[] = [];
    for (let i = 0; i < 200; i++) {
      const start = performance.now();
      await qmp.execute('query-status');
      times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    t.ok((times[190] as number) < 200, `95 of 100 answers within ${times[190]} ms`);
    t.ok(rss() - before < 400 << 20, `${(rss() - before) >> 20} MiB more`);
    deaf.destroy();
    endless.destroy();
    await qmp.execute('quit');
    t.equal(await daemon.exited, 0);
  },
);
