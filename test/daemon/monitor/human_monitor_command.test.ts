/** `human-monitor-command` of a daemon with a guest: what lines show of it, in the form recorded from QEMU 7.2.22. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';

const skip = noKvm();
const UUID = '11111111-2222-3333-4444-555555555555';
const run = (daemon: TestDaemon, line: string, cpuIndex?: number) =>
  daemon.qmp.execute('human-monitor-command', {
    'command-line': line,
    ...(cpuIndex === undefined ? {} : { 'cpu-index': cpuIndex }),
  });

t.test('a guest is looked at and controlled line by line', { skip }, async (t) => {
  const daemon = await TestDaemon.source(t, 'fill=8 ws=1 rate=100', {
    more: ['-smp', '2', '-name', 'golden', '-uuid', UUID],
  });
  const is = async (line: string, text: string | RegExp) => {
    const shown = await run(daemon, line);
    if (typeof text === 'string') t.equal(shown, text, line);
    else t.match(shown, text, line);
  };
  await is('info name', 'golden\r\n');
  await is('info uuid', `${UUID}\r\n`);
  await is('info kvm', 'kvm support: enabled\r\n');
  await is('info version', /^7\.2\.22vmhostd-/);
  await is('info status', 'VM status: running\r\n');
  await is('s', '');
  await is('info status', 'VM status: paused\r\n');
  t.strictSame(daemon.eventNames(), ['STOP']);

  const threads = (await daemon.qmp.execute('query-cpus-fast')).map((cpu) => cpu['thread-id']);
  await is('info cpus', `* CPU #0: thread_id=${threads[0]}\r\n  CPU #1: thread_id=${threads[1]}\r\n`);
  t.equal(
    await run(daemon, 'info cpus', 1),
    `  CPU #0: thread_id=${threads[0]}\r\n* CPU #1: thread_id=${threads[1]}\r\n`,
  );
  await is('cpu 1', '');
  await is('info cpus', /^\* CPU #0/);
  for (const index of [2, -1]) {
    await t.rejects(run(daemon, 'info cpus', index), { message: "Parameter 'cpu-index' expects a CPU number" });
  }

  await is('info registers', /^\r\nCPU#0\r\nRAX=[0-9a-f]{16} RBX=/);
  t.match(await run(daemon, 'info registers', 1), /^\r\nCPU#1\r\nEAX=00000000 .*\r\n.*\r\nEIP=0000fff0 EFL=00000002 /);
  await is('info registers -a', /^\r\nCPU#0\r\n(.*\r\n)+\r\nCPU#1\r\n/);
  await is('info registers 7', 'CPU#7 not available\r\n');
  const [, rsp] = /RSP=([0-9a-f]+)/.exec(await run(daemon, 'info registers')) ?? [];
  await is('p/x $esp', `0x${rsp?.replace(/^0+/, '')}\r\n`);
  const stack = await run(daemon, 'x/4xg $esp');
  t.match(stack, /^[0-9a-f]{16}:( 0x[0-9a-f]{16}){2}\r\n[0-9a-f]{16}:( 0x[0-9a-f]{16}){2}\r\n$/);
  t.equal(await run(daemon, 'xp/4xg $esp'), stack, 'the guest maps its memory one to one');
  await is('xp/20dw 0xfffffff0', /^00000000fffffff0:( +\d+){4}\r\n0000000100000000: Cannot access memory\r\n$/);
  await is('x/4xw 0xffffffffff', '000000ffffffffff: Cannot access memory\r\n');
  await is('xp/2i 0', 'Instructions cannot be shown: there is no disassembler\r\n');
  await is(`memsave $esp 16 "${join(daemon.dir, 'saved')}"`, '');
  const saved = readFileSync(join(daemon.dir, 'saved'));
  await is('x/2xg $esp', new RegExp(` 0x${saved.readBigUInt64LE().toString(16).padStart(16, '0')} `));

  await is('info mtree', /\(prio 0, ram\): alias ram-below-4g @pc\.ram 0000000000000000-0000000003ffffff\r\n/);
  await is('info mtree -f', /: serial0\r\n/);
  await is('watchdog_action foo', 'Error: invalid parameter value: foo\r\n');
  await is('watchdog_action pause', '');
  await is('system_wakeup', 'Error: Unable to wake up: guest is not in suspended state\r\n');
  await is('info memory_size_summary', `base memory: ${64 << 20}\r\nplugged memory: 0\r\n`);
  await is('info balloon', 'Error: No balloon device has been activated\r\n');
  await is('c', '');
  await is('info status', 'VM status: running\r\n');
  const over = await run(daemon, 'xp/99999999x 0').catch((error: Error) => error.message);
  t.match(over, /too long|Cannot access memory/, 'a long answer is bounded');
  await is('q', '');
  t.strictSame(await daemon.exited, { code: 0, signal: null });
});

t.test('a migration is made and watched line by line', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=8 ws=1 rate=100');
  const { daemon: destination, uri } = await TestDaemon.destination(t);
  t.match(await run(destination, 'info migrate'), /^socket address: \[\r\n\tunix:.*\r\n\]\r\n$/m);
  t.equal(await run(source, 'info mplm'), '');
  t.equal(await run(source, 'set-mplm-migration -n -f 1 30'), '');
  t.equal(
    await run(source, `migrate ${uri}`),
    'terminal does not allow synchronous migration, continuing detached\r\n',
  );
  await source.event('MIGRATION', ({ data }) => data.status === 'completed');
  await destination.event('RESUME');
  t.match(
    await run(source, 'info migrate'),
    new RegExp(
      '^globals:\r\nstore-global-state: on\r\nonly-migratable: off\r\nsend-configuration: on\r\nsend-section-footer: on\r\n' +
        'decompress-error-check: on\r\nclear-bitmap-shift: 18\r\nMigration status: completed\r\ntotal time: \\d+ ms\r\n' +
        'downtime: \\d+ ms\r\nsetup: \\d+ ms\r\ntransferred ram: \\d+ kbytes\r\nthroughput: \\d+\\.\\d\\d mbps\r\n' +
        'remaining ram: 0 kbytes\r\ntotal ram: 65536 kbytes\r\nduplicate: \\d+ pages\r\nskipped: 0 pages\r\nnormal: \\d+ pages\r\n' +
        'normal bytes: \\d+ kbytes\r\ndirty sync count: \\d+\r\npage size: 4 kbytes\r\nmultifd bytes: 0 kbytes\r\n' +
        'pages-per-second: \\d+\r\n',
    ),
  );
  const mplm = await run(source, 'info mplm');
  t.match(mplm, /^policy: mplm\r\n/);
  t.match(mplm, /^intervaltime: 1 s\r\ndirtypercents: 30\r\nfirstnondirty: on\r\nrelaxlivemig: off\r$/m);
  t.match(mplm, /^epoch 0: \d+ ms, sent \d+ non-dirty and 0 dirty pages, \d+ newly dirty\r$/m);
  t.equal(await run(source, 'info status'), 'VM status: paused (postmigrate)\r\n');
  t.match(await run(source, 'migrate -d foo'), /^Error: /);
});

t.test('without a machine there is nothing to look at, and that is said', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-machine', 'none'] });
  const texts: Record<string, string> = {
    'info cpus': '',
    'info registers': 'No CPU available\r\n',
    'info registers -a': '',
    'info name': '',
    'info uuid': '00000000-0000-0000-0000-000000000000\r\n',
    'info kvm': 'kvm support: disabled\r\n',
    'x 0': 'Can not dump without CPU\r\n',
    'xp/4x 0': '0000000000000000: Cannot access memory\r\n',
    'p $eip': 'unknown register\r\nTry "help p" for more information\r\n',
    'cpu 0': 'invalid CPU index\r\n',
    'memsave 0 1 "x"': 'No CPU available\r\n',
    nmi: 'Error: this feature or command is not currently supported\r\n',
  };
  for (const [line, text] of Object.entries(texts)) t.equal(await run(daemon, line), text, line);
  await t.rejects(run(daemon, 'info cpus', 0), { message: "Parameter 'cpu-index' expects a CPU number" });
});
