/** Scripts that drive the human monitor of `-monitor` through socat and nc, as they do with QEMU; and QEMU beside it. */
import { spawnSync } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import t from 'tap';
import { socketPath } from '../daemon/qmp/socket_path.js';
import { DaemonProcess, MACHINE_NONE, QMP_SOCKET } from '../helpers/daemon.js';
import { TestDaemon } from '../helpers/daemons.js';
import { FdClient } from '../helpers/fd_client.js';
import { cannotRun, shell } from './pair.js';

const QEMU = 'qemu-system-x86_64';
const has = (program: string) => spawnSync('which', [program]).status === 0;
const MONITOR = ['-monitor', 'unix:@/hmp,server=on,wait=off', '-name', 'golden'];
const ARGS = [...MACHINE_NONE, ...QMP_SOCKET, ...MONITOR];

/** Sends lines, half-closes, and gives all that came. */
const say = (tool: string, daemon: { path(name: string): string }, lines: string) =>
  shell(`printf '%s' "$LINES_SENT" | ${tool}`, { HMP: daemon.path('hmp'), LINES_SENT: lines });

const SOCAT = 'socat -t 20 - "UNIX-CONNECT:$HMP"';
const TOOLS = { socat: SOCAT, nc: 'nc -N -U "$HMP"' };

/** Recorded from QEMU 7.2.22. */
const SHOWN =
  "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) " +
  "f\x1b[K\x1b[Dfo\x1b[K\x1b[D\x1b[Dfoo\x1b[K\r\nunknown command: 'foo'\r\n(qemu) " +
  's\x1b[K\x1b[Dst\x1b[K\x1b[D\x1b[Dsto\x1b[K\x1b[D\x1b[D\x1b[Dstop\x1b[K\r\n(qemu) ';

for (const [tool, command] of Object.entries(TOOLS)) {
  t.test(
    `one-liners with ${tool} see what QEMU shows, byte for byte`,
    { skip: !has(tool) && `no ${tool}` },
    async (t) => {
      const daemon = new DaemonProcess(t, ARGS);
      const qmp = await daemon.qmp();
      t.equal(await say(command, daemon, 'foo\nstop\n'), SHOWN);
      t.equal((await qmp.execute('query-status')).status, 'paused');
      t.match(await say(command, daemon, 'info name\n'), /\r\ngolden\r\n\(qemu\) $/);
      t.match(await say(command, daemon, 'info chardev\n'), /\r\ncompat_monitor\d: filename=unix:.*hmp,server=on\r\n/);
      t.match(await say(command, daemon, 'quit\nstop\n'), /quit\x1b\[K\r\n$/);
      t.equal(await daemon.exited, 0);
      t.strictSame(daemon.eventNames(), ['STOP', 'SHUTDOWN']);
    },
  );
}

/** Lines whose answers hold nothing of the moment, of the daemon's own words, or of what is different here. */
const LINES = [
  ...[
    '',
    '  ',
    'foo',
    'info foo',
    'p 1+2*3',
    'p/d -1',
    'p (1',
    'p $eip',
    'x/4xw 0',
    'xp/4x 0',
    'xp/4xz 0',
    'cpu 0',
    'cpu -1',
  ],
  ...['info status', 'info name', 'info uuid', 'info kvm', 'info cpus', 'info registers', 'info registers -a'],
  ...['info numa', 'info block', 'info history', 'info status x', 'info memory_size_summary'],
  ...['cont', 'info status', 's', 'info status', 'stop 1', 'c', 'info status', 'system_wakeup', 'nmi'],
  ...['migrate', 'migrate -x a', 'migrate_cancel', 'migrate_pause', 'migrate_continue x'],
  ...[
    'migrate_set_parameter max-bandwidth 1.5G',
    'migrate_set_parameter downtime-limit x',
    'migrate_set_parameter bogus 1',
  ],
  ...['migrate_set_parameter cpu-throttle-initial 300', 'migrate_set_parameter announce-rounds 2000'],
  ...['info migrate_parameters', 'migrate_set_capability events on', 'migrate_set_capability bogus on'],
  ...['migrate_set_capability events onn', 'getfd', 'getfd x', 'closefd x', 'watchdog_action foo', 'announce_self x y'],
  ...[
    'memsave 0 16 "/nonexistent/x"',
    'memsave 0 16 /tmp/x',
    'cancel_vcpu_dirty_limit',
    'info vcpu_dirty_limit',
    'info dump',
  ],
  ...[
    'dump-guest-memory',
    'calc_dirty_rate',
    'calc_dirty_rate 0',
    'calc_dirty_rate -r -b 1',
    'calc_dirty_rate 1 100',
    'info dirty_rate',
    'dump-guest-memory -z -l x',
    'help foo',
    'help "q',
  ],
  ...[
    'ab\x7f\x7fp\x01\x04p\x053\x1b[D 4\x17',
    '\x1b[A\x1b[A\x1b[B',
    'inf\tstatus\t',
    'migrate_set_parameter max-b\t1M',
  ],
];

t.test(
  'a long session shows what QEMU shows',
  { skip: !(has(QEMU) && has('socat')) && `no ${QEMU} or no socat` },
  async (t) => {
    const [ours, theirs] = [new DaemonProcess(t, ARGS), new DaemonProcess(t, ARGS, {}, [QEMU])];
    for (const daemon of [ours, theirs]) {
      await daemon.until('its monitor', () => existsSync(daemon.path('hmp')) || undefined);
    }
    const lines = LINES.map((line) => `${line}\n`).join('');
    const shown = await Promise.all([ours, theirs].map((daemon) => say(SOCAT, daemon, lines)));
    const [own, qemu] = shown.map((text) => text.split('(qemu) ')) as [string[], string[]];
    for (const [i, text] of qemu.entries()) t.equal(own[i], text, JSON.stringify(LINES[i - 1] ?? 'greeting'));
    t.equal(own.length, qemu.length);
  },
);

t.test('getfd takes the file descriptor that comes over the monitor', async (t) => {
  const daemon = new DaemonProcess(t, ARGS);
  await daemon.qmp();
  const client = new FdClient(daemon.path('hmp'));
  t.teardown(() => client.stream.destroy());
  const shows = async (line: string, fds: readonly number[] = []) => {
    await client.until((text) => text.endsWith('(qemu) '));
    client.text = '';
    client.send(`${line}\n`, fds);
    return (await client.until((text) => text.endsWith('(qemu) '))).replace(/^.*\x1b\[K\r\n/s, '');
  };
  t.equal(await shows('getfd a'), 'Error: No file descriptor supplied via SCM_RIGHTS\r\n(qemu) ');
  t.equal(await shows('getfd a', [openSync('/dev/null', 'r')]), '(qemu) ');
  t.equal(await shows('closefd a'), '(qemu) ');
  t.equal(await shows('closefd a'), "Error: File descriptor named 'a' not found\r\n(qemu) ");
});

t.test(
  'migrate without -d shows the prompt again once the guest has moved',
  { skip: cannotRun('socat') },
  async (t) => {
    const hmp = socketPath(t);
    const more = ['-monitor', `unix:${hmp},server=on,wait=off`];
    await TestDaemon.source(t, 'fill=8 ws=1 rate=100', { more });
    const { daemon: destination, uri } = await TestDaemon.destination(t);
    const text = await say(SOCAT, { path: () => hmp }, `cpu 0\nmigrate ${uri}\ninfo status\n`);
    t.match(text, /\r\nVM status: paused \(postmigrate\)\r\n\(qemu\) $/);
    await destination.event('RESUME');
    t.match(await destination.verify(), /^VERIFY ok/);
  },
);
