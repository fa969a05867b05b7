import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, createReadStream, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { PAGE_BYTES, PROGRESS_GPA, patternWord, readProgress } from '../../guest/pattern.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';
import { ElfCore } from '../../helpers/elf_core.js';
import { FdClient } from '../../helpers/fd_client.js';

const skip = noKvm();
const MIB = 2 ** 20;
const ROM_BYTES = 0x10000;
const BUSY = 'There is a dump in process, please wait.';
const NT_PRSTATUS = 1;

/** The registers that tests look at, from NT_PRSTATUS and from QEMU's note. */
function registers(core: ElfCore) {
  const prstatus = core.notes.filter(({ name, type }) => name === 'CORE' && type === NT_PRSTATUS);
  const qemu = core.notes.filter(({ name }) => name === 'QEMU');
  return prstatus.map(({ desc }, i) => ({
    pid: desc.readUInt32LE(32),
    rip: desc.readBigUInt64LE(112 + 16 * 8),
    cs: desc.readBigUInt64LE(112 + 17 * 8),
    qemuRip: qemu[i]?.desc.readBigUInt64LE(8 + 16 * 8),
    qemuCs: qemu[i]?.desc.readUInt32LE(152),
    cr0: qemu[i]?.desc.readBigUInt64LE(392),
  }));
}

t.test('a core has the memory and the registers of a running guest, which goes on', { skip }, async (t) => {
  const daemon = await TestDaemon.source(t, 'fill=8 ws=2 rate=1000', { more: ['-smp', '2'] });
  const path = join(daemon.dir, 'core');
  const from = daemon.events.length;
  await daemon.qmp.execute('dump-guest-memory', { paging: false, protocol: `file:${path}` });
  t.same(daemon.eventNames(from), ['STOP', 'DUMP_COMPLETED', 'RESUME']);
  const total = 64 * MIB + ROM_BYTES;
  const completed = { status: 'completed', completed: total, total } as const;
  t.same((await daemon.event('DUMP_COMPLETED')).data, { result: completed });
  t.same(await daemon.qmp.execute('query-dump'), completed);
  const { mode, blocks } = statSync(path);
  t.equal(mode & 0o777, 0o400);
  t.ok(blocks * 512 < 32 * MIB, 'what the guest never touched is a hole');

  const core = new ElfCore(readFileSync(path));
  t.same(
    core.loads.map(({ physical, bytes }) => [physical, bytes]),
    [
      [0n, 64 * MIB],
      [2n ** 32n - BigInt(ROM_BYTES), ROM_BYTES],
    ],
  );
  const page = (gpa: number) => core.memory(BigInt(gpa), PAGE_BYTES);
  const progress = readProgress(page(PROGRESS_GPA));
  if (!progress) throw new Error('the core has no progress page');
  const { segments, passes, position, workingSet } = progress;
  const [{ gpa, pages } = { gpa: 0, pages: 0 }] = segments;
  const wrong = Array.from({ length: pages }, (_, i) => i).filter((i) => {
    if (i === position) return false; // the one that is being written
    const generation = i >= workingSet ? 0 : passes + (i < position ? 1 : 0);
    return page(gpa + i * PAGE_BYTES).readBigUInt64LE(4088) !== patternWord(gpa / PAGE_BYTES + i, generation, 511);
  });
  t.same(wrong, [], 'memory is that of one moment');
  const [first, second] = registers(core);
  t.ok(first && first.rip >= 2n ** 20n && first.rip < 2n ** 21n, 'the first vCPU is in the guest’s code');
  t.match(first, { pid: 1, qemuRip: first?.rip, qemuCs: Number(first?.cs) });
  t.equal((first?.cr0 ?? 0n) >> 31n, 1n, 'with paging on');
  t.match(second, { pid: 2, rip: 0xfff0n });
  const beat = daemon.nextLine(/^HB /);
  await beat;
  t.match(await daemon.verify(), /^VERIFY ok/);
});

t.test('gdb reads a core', { skip: skip || noProgram('gdb') }, async (t) => {
  const daemon = await TestDaemon.source(t, 'fill=4');
  const path = join(daemon.dir, 'core');
  await daemon.qmp.execute('dump-guest-memory', { paging: true, protocol: `file:${path}` });
  const commands = ['info threads', `x/gx ${PROGRESS_GPA}`, 'print/x $rip'].flatMap((command) => ['-ex', command]);
  const said = execFileSync('gdb', ['-nx', '-batch', ...commands, '-core', path], { encoding: 'utf8', stdio: 'pipe' });
  t.match(said, /^\* 1 .*LWP 1/m);
  t.match(said, /^0x120000:\s+0x0054534555474d56$/m);
  t.match(said, new RegExp(`\\$1 = 0x${registers(new ElfCore(readFileSync(path)))[0]?.rip.toString(16)}$`, 'm'));
});

t.test('a part of memory; of a guest in real mode the registers are the 32-bit ones', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-S'] });
  const path = join(daemon.dir, 'core');
  const part = { begin: 2 ** 32 - 16, length: 16 };
  const from = daemon.events.length;
  await daemon.qmp.execute('dump-guest-memory', { paging: true, protocol: `file:${path}`, ...part });
  t.same(daemon.eventNames(from), ['DUMP_COMPLETED'], 'a paused guest is not paused again');
  const core = new ElfCore(readFileSync(path));
  t.equal(core.machine, 3);
  t.same(
    core.loads.map(({ virtual, bytes }) => [virtual, bytes]),
    [[2n ** 32n - 16n, 16]],
  );
  t.equal(core.memory(2n ** 32n - 16n, 1)[0], 0xfa, 'the `cli` at the reset vector');
  t.equal(core.notes[0]?.desc.readUInt32LE(72 + 12 * 4), 0xfff0, 'eip');
  t.equal(await daemon.status(), 'prelaunch');
});

t.test(
  'while a detached dump waits for its reader, nothing else moves the guest; then it goes on',
  { skip },
  async (t) => {
    const daemon = await TestDaemon.source(t, 'fill=8');
    const { qmp } = daemon;
    const fifo = join(daemon.dir, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const args = { paging: false, protocol: `file:${fifo}`, detach: true };
    await t.rejects(qmp.execute('dump-guest-memory', args), { message: /No such device or address$/ });
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const from = daemon.events.length;
    await qmp.execute('dump-guest-memory', args);
    t.same(daemon.eventNames(from), ['STOP']);
    t.equal(await daemon.status(), 'save-vm');
    t.match(await qmp.execute('query-dump'), { status: 'active', total: 64 * MIB + ROM_BYTES });
    for (const command of ['stop', 'cont', 'system_reset'] as const) {
      await t.rejects(qmp.execute(command), { message: BUSY }, command);
    }
    await t.rejects(qmp.execute('dump-guest-memory', args), { message: BUSY });
    const blocked = 'Live migration disabled: dump-guest-memory in progress';
    await t.rejects(qmp.execute('migrate', { uri: 'tcp:127.0.0.1:1' }), { message: blocked });
    t.same(await qmp.execute('query-migrate'), { 'blocked-reasons': [blocked] });
    const reading = createReadStream(fifo);
    await once(reading, 'open');
    closeSync(reader);
    const read = reading.toArray();
    await daemon.event('RESUME', () => true, { from });
    t.same(daemon.eventNames(from), ['STOP', 'DUMP_COMPLETED', 'RESUME']);
    t.equal(new ElfCore(Buffer.concat(await read)).sectionNames, '\0.shstrtab\0', 'the last byte is there');
    t.same(await qmp.execute('query-migrate'), {});
    t.match(await daemon.verify(), /^VERIFY ok/);
  },
);

t.test('fd:NAME is where a client says, and is closed in the end', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-S'] });
  const client = await FdClient.negotiated(join(daemon.dir, 'qmp'));
  t.teardown(() => client.close());
  const path = join(daemon.dir, 'core');
  const fd = openSync(path, 'w');
  await client.execute('getfd', { fdname: 'core' }, [fd]);
  closeSync(fd);
  const { fds } = daemon.resources();
  await client.execute('dump-guest-memory', { paging: false, protocol: 'fd:core' });
  t.equal(daemon.resources().fds, fds - 1);
  t.equal(new ElfCore(readFileSync(path)).sectionNames, '\0.shstrtab\0');
});

t.test('what cannot be dumped is refused in QEMU’s words, and the guest goes on', { skip }, async (t) => {
  const daemon = await TestDaemon.source(t, '');
  const protocol = `file:${join(daemon.dir, 'core')}`;
  const dump = (args: object) => daemon.qmp.execute('dump-guest-memory', { paging: false, protocol, ...args });
  for (const [args, message] of [
    [{ protocol: 'nonsense:x' }, "Invalid parameter 'protocol'"],
    [{ protocol: 'file:' }, "Could not open '': No such file or directory"],
    [{ protocol: 'fd:x' }, "File descriptor named 'x' has not been found"],
    [{ begin: 0 }, "Parameter 'length' is missing"],
    [{ length: 0 }, "Parameter 'begin' is missing"],
    [{ format: 'kdump-lzo' }, 'kdump-lzo is not available now'],
    [{ format: 'kdump-zlib', paging: true }, "kdump-compressed format doesn't support paging or filter"],
  ] as const) {
    const from = daemon.events.length;
    await t.rejects(dump(args), { message }, message);
    t.same(daemon.eventNames(from), [], 'the guest does not notice');
  }
  t.match(await daemon.qmp.execute('query-dump'), { status: 'none' });
  for (const [args, message] of [
    [{ begin: 0, length: 0 }, "Invalid parameter 'length'"],
    [{ begin: -1, length: 5 }, "Invalid parameter 'begin'"],
    [{ begin: 2 ** 30, length: 5 }, 'dump: no guest memory to dump'],
  ] as const) {
    const from = daemon.events.length;
    await t.rejects(dump(args), { message }, message);
    t.same(daemon.eventNames(from), ['STOP', 'RESUME']);
    t.match(await daemon.qmp.execute('query-dump'), { status: 'failed', completed: 0 });
  }
  const from = daemon.events.length;
  const full = 'dump: failed to write elf header: No space left on device';
  await t.rejects(dump({ protocol: 'file:/dev/full' }), { message: full });
  t.same(daemon.eventNames(from), ['STOP', 'DUMP_COMPLETED', 'RESUME']);
  t.match((await daemon.event('DUMP_COMPLETED')).data, { error: full, result: { status: 'failed' } });
  t.equal(await daemon.status(), 'running');
});

t.test('a daemon that waits for a guest, and one that migrates its guest, do not dump', { skip }, async (t) => {
  const source = await TestDaemon.source(t, 'fill=32 ws=32 rate=max');
  const { daemon: destination, uri } = await TestDaemon.destination(t);
  const args = { paging: false, protocol: `file:${join(source.dir, 'core')}` };
  await t.rejects(destination.qmp.execute('dump-guest-memory', args), {
    message: 'Dump not allowed during incoming migration.',
  });
  await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': MIB });
  await source.qmp.execute('migrate', { uri });
  await source.event('MIGRATION', ({ data }) => data.status === 'active');
  await t.rejects(source.qmp.execute('dump-guest-memory', args), {
    message: /^disallowing migration blocker .migration\/snapshot in progress. for: Live migration disabled/,
  });
  await source.qmp.execute('migrate_cancel');
});

t.test('the daemon ends though nobody reads a dump', { skip }, async (t) => {
  const daemon = await TestDaemon.start(t);
  const fifo = join(daemon.dir, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  await daemon.qmp.execute('dump-guest-memory', { paging: false, protocol: `file:${fifo}`, detach: true });
  await daemon.qmp.execute('quit');
  t.same(await daemon.exited, { code: 0, signal: null });
  closeSync(reader);
});

t.test('without a machine there is nothing to dump', async (t) => {
  const daemon = await TestDaemon.start(t, { more: ['-machine', 'none'] });
  const protocol = `file:${join(daemon.dir, 'core')}`;
  const message = 'dump: no guest memory to dump';
  await t.rejects(daemon.qmp.execute('dump-guest-memory', { paging: false, protocol }), { message });
  t.same(await daemon.qmp.execute('query-dump-guest-memory-capability'), { formats: ['elf'] });
});

function noProgram(name: string): string | false {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return `${name} is not installed`;
  }
}
