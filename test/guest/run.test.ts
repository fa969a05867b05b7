import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { findBadWord, PAGE_BYTES, PROGRESS_GPA, patternOrigin, readProgress } from './pattern.js';
import { accelerator, noQemu, QemuGuest } from './qemu.js';

const skip = noQemu();
const MIB = 1 << 20;
const BEAT = /^HB (\d+) passes=(\d+) dirtied=(\d+) ms=(\d+) back=(\d+)$/;

interface Beat {
  n: number;
  passes: number;
  dirtied: number;
  ms: number;
  back: number;
}

function beatOf(found: RegExpExecArray): Beat {
  const [n, passes, dirtied, ms, back] = found.slice(1).map(Number);
  return { n: n!, passes: passes!, dirtied: dirtied!, ms: ms!, back: back! };
}

function beatsOf(lines: string[]): Beat[] {
  return lines.flatMap((line) => {
    const found = BEAT.exec(line);
    return found ? [beatOf(found)] : [];
  });
}

async function beats(guest: QemuGuest, count: number): Promise<Beat[]> {
  const seen: Beat[] = [];
  while (seen.length < count) seen.push(beatOf(await guest.nextLine(BEAT)));
  return seen;
}

/** A guest whose memory is a file that the test reads and writes too. */
function guestOnFile(t: Test, append: string, ramMib: number, extra: string[] = []) {
  const dir = mkdtempSync(join(tmpdir(), 'vmguest-'));
  const path = join(dir, 'ram');
  const backend = `memory-backend-file,id=ram,size=${ramMib}M,mem-path=${path},share=on`;
  const guest = new QemuGuest(append, [
    '-m',
    `${ramMib}`,
    '-object',
    backend,
    '-machine',
    'memory-backend=ram',
    ...extra,
  ]);
  t.teardown(async () => {
    await guest.kill();
    rmSync(dir, { recursive: true });
  });
  const using = <T>(act: (fd: number) => T): T => {
    const fd = openSync(path, 'r+');
    try {
      return act(fd);
    } finally {
      closeSync(fd);
    }
  };
  return {
    guest,
    read: (gpa: number, bytes: number) =>
      using((fd) => {
        const data = Buffer.alloc(bytes);
        readSync(fd, data, 0, bytes, gpa);
        return data;
      }),
    write: (gpa: number, data: Buffer) => using((fd) => writeSync(fd, data, 0, data.length, gpa)),
  };
}

t.test('the guest fills, dirties at the rate asked for, beats by one and verifies', { skip }, async (t) => {
  for (const accel of new Set([accelerator(), 'tcg'])) {
    await t.test(accel, async (t) => {
      const guest = new QemuGuest('fill=64 ws=16 rate=5000 hb=100', [], accel);
      t.teardown(() => guest.kill());
      await guest.nextLine(/^GUEST-UP ram=128 fill=64 ws=4096 rate=5000$/);
      await guest.nextLine(/^FILLED pages=16384 ms=\d+$/);
      const seen = await beats(guest, 21);
      const [first, last] = [seen[0]!, seen[20]!];
      for (const [i, beat] of seen.entries()) t.equal(beat.n, i + 1, 'heartbeats count by one');
      t.equal(last.back, 0, 'time never went back');
      const rate = ((last.dirtied - first.dirtied) * 1000) / (last.ms - first.ms);
      t.ok(rate > 4500 && rate < 5500, `rate ${rate} is within a tenth of 5000`);
      t.ok(last.passes >= 2, 'the working set was passed over twice');
      const verified = await guest.ask('v', /^VERIFY (.*)$/);
      t.match(verified[1], /^ok pages=16384 passes=\d+$/);
    });
  }
});

t.test('the guest obeys: stop, go, another rate, flat out, idle', { skip }, async (t) => {
  const guest = new QemuGuest('fill=32 ws=8 rate=2000 hb=50');
  t.teardown(() => guest.kill());
  await beats(guest, 3);
  await guest.ask('s', /^STOP$/);
  const [still, later] = await beats(guest, 2);
  t.equal(later!.dirtied, still!.dirtied, 'nothing is dirtied after a stop');
  await guest.ask('g', /^GO$/);
  const [going, gone] = await beats(guest, 2);
  t.ok(gone!.dirtied > going!.dirtied, 'it goes on');
  await guest.ask('r20000\n', /^RATE 20000$/);
  const faster = await beats(guest, 11);
  const rate = ((faster[10]!.dirtied - faster[0]!.dirtied) * 1000) / (faster[10]!.ms - faster[0]!.ms);
  t.ok(rate > 18000 && rate < 22000, `rate ${rate} is within a tenth of 20000`);
  await guest.ask('rmax\n', /^RATE max$/);
  const [a, b] = await beats(guest, 2);
  t.ok(b!.dirtied - a!.dirtied > 2000, 'flat out is faster');
  await guest.ask('r0\n', /^RATE 0$/);
  const [c, d] = await beats(guest, 2);
  t.equal(c!.dirtied, d!.dirtied, 'rate 0 is idle');
  await guest.ask('r7x\n', /^WARN bad rate: 7x$/);
  await guest.ask('?', /^WARN unknown command: \?$/);
  t.match((await guest.ask('v', /^VERIFY (.*)$/))[1], /^ok pages=8192 /);
  const all = beatsOf(guest.lines);
  t.same(
    all.map((beat) => beat.n),
    all.map((_, i) => i + 1),
    'no heartbeat was lost on the way',
  );
});

t.test('an idle guest answers a command at once', { skip }, async (t) => {
  const guest = new QemuGuest('hb=5000');
  t.teardown(() => guest.kill());
  await guest.nextLine(BEAT);
  const start = performance.now();
  await guest.ask('v', /^VERIFY ok pages=0 passes=0$/);
  t.ok(performance.now() - start < 1000, 'not only at the next heartbeat');
});

t.test('a fill or working set that does not fit is said so and cut', { skip }, async (t) => {
  const guest = new QemuGuest('fill=4096 ws=200 rate=max nonsense rate=x hb=0');
  t.teardown(() => guest.kill());
  await guest.nextLine(/^GUEST-UP/);
  t.equal(guest.lines[0], 'WARN parameter ignored: nonsense');
  t.equal(guest.lines[1], 'WARN parameter ignored: rate=x');
  t.equal(guest.lines[2], 'WARN parameter ignored: hb=0');
  t.match(guest.lines[3], /^WARN fill=4096 MiB is more than there is, using MiB=12[56]$/);
  t.match(guest.lines[4], /^WARN working set pages=51200 do not fit in the fill, using pages=32\d\d\d$/);
  await guest.nextLine(BEAT);
  t.match((await guest.ask('v', /^VERIFY (.*)$/))[1], /^ok pages=32\d\d\d /);
});

t.test('memory above 4 GiB is filled, dirtied and verified', { skip }, async (t) => {
  const machine = ['-M', 'q35,max-ram-below-4g=64M', '-m', '192'];
  const guest = new QemuGuest('fill=160 ws=8 ws-at=100 rate=max', machine, 'tcg');
  t.teardown(() => guest.kill());
  await guest.nextLine(/^GUEST-UP ram=192 fill=160 ws=2048 rate=max$/);
  await beats(guest, 3);
  t.match((await guest.ask('v', /^VERIFY (.*)$/))[1], /^ok pages=40960 passes=[1-9]/);
});

t.test('a second processor stays out of it, and a reset starts the guest anew', { skip }, async (t) => {
  const guest = new QemuGuest('fill=16 ws=4 rate=max', ['-smp', '2', '-action', 'reboot=reset']);
  t.teardown(() => guest.kill());
  for (let start = 0; start < 2; start++) {
    await guest.nextLine(/^GUEST-UP/);
    const seen = await beats(guest, 3);
    t.equal(seen[0]!.n, 1, 'heartbeats begin at 1');
    t.ok(seen[0]!.ms < 1000, 'time begins at 0');
    t.match((await guest.ask('v', /^VERIFY (.*)$/))[1], /^ok pages=4096 passes=[1-9]/);
    await guest.execute('system_reset');
  }
});

t.test('a host that reads the memory file finds every page as it should be', { skip }, async (t) => {
  const { guest, read } = guestOnFile(t, 'fill=16 ws=4 rate=max', 64);
  await beats(guest, 3);
  await guest.execute('stop');
  const progress = readProgress(read(PROGRESS_GPA, PAGE_BYTES))!;
  t.equal(progress.fill, 4096);
  t.equal(progress.workingSet, 1024);
  t.ok(progress.passes > 0, 'passes are counted in memory');
  t.equal(progress.dirtied, progress.passes * 1024 + progress.position);
  t.equal(findBadWord(progress, read), undefined);
});

t.test('one changed byte in any page is found and told', { skip }, async (t) => {
  const { guest, read, write } = guestOnFile(t, 'fill=32 ws=4 rate=1000', 64);
  await beats(guest, 2);
  const progress = readProgress(read(PROGRESS_GPA, PAGE_BYTES))!;
  const gpa = progress.segments[0]!.gpa + 20 * MIB;
  const offset = 8 * 300 + 5;
  const before = read(gpa + offset, 1);
  write(gpa + offset, Buffer.from([before[0]! ^ 1]));
  const bad = await guest.ask('v', /^VERIFY BAD page=0x(\w+) want=0x(\w+) got=0x(\w+) count=(\d+)$/);
  t.equal(Number.parseInt(bad[1]!, 16), gpa);
  t.same(patternOrigin(BigInt(`0x${bad[2]}`), 300), { pfn: gpa / PAGE_BYTES, generation: 0 });
  t.equal(BigInt(`0x${bad[2]}`) ^ BigInt(`0x${bad[3]}`), 1n << 40n);
  t.equal(bad[4], '1');
  write(gpa + offset, before);
  t.match((await guest.ask('v', /^VERIFY (.*)$/))[1], /^ok/, 'and it is well again when the byte is');
});

t.test('a page of an older generation is found', { skip }, async (t) => {
  const { guest, read, write } = guestOnFile(t, 'fill=16 ws-pages=8 rate=max', 64);
  await guest.nextLine(BEAT);
  await guest.ask('s', /^STOP$/);
  const gpa = readProgress(read(PROGRESS_GPA, PAGE_BYTES))!.segments[0]!.gpa;
  const old = read(gpa, PAGE_BYTES);
  await guest.ask('g', /^GO$/);
  await beats(guest, 2);
  await guest.ask('s', /^STOP$/);
  write(gpa, old);
  const bad = await guest.ask('v', /^VERIFY BAD page=0x(\w+) want=0x(\w+) got=0x(\w+) count=1$/);
  const want = patternOrigin(BigInt(`0x${bad[2]}`), 0);
  const got = patternOrigin(BigInt(`0x${bad[3]}`), 0);
  t.equal(got.pfn, want.pfn);
  t.ok(got.generation < want.generation, 'the word found is of an older generation');
});

t.test('a memory image older than the registers is found', { skip }, async (t) => {
  const { guest, read, write } = guestOnFile(t, 'fill=16 ws=4 rate=2000', 64);
  const stale = guest.nextLine(/^STALE want=\d+:\d+ got=\d+:\d+$/);
  await guest.nextLine(BEAT);
  const old = read(PROGRESS_GPA, 24);
  await beats(guest, 2);
  await guest.execute('stop');
  write(PROGRESS_GPA, old);
  await guest.execute('cont');
  await stale;
  const bad = await guest.ask('v', /^VERIFY BAD page=0x(\w+) /);
  t.equal(Number.parseInt(bad[1]!, 16), PROGRESS_GPA);
});

t.test('the guest goes on after a live migration, and every page is there', { skip }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmguest-'));
  const append = 'fill=96 ws=8 rate=3000 hb=50';
  const source = new QemuGuest(append);
  const target = new QemuGuest(append, ['-incoming', 'defer']);
  t.teardown(async () => {
    await Promise.all([source.kill(), target.kill()]);
    rmSync(dir, { recursive: true });
  });
  await beats(source, 3);
  const uri = `unix:${join(dir, 'channel')}`;
  await target.execute('migrate-incoming', { uri });
  const moved = source.nextEvent((e) => e.event === 'STOP');
  const after = beats(target, 5);
  await source.execute('migrate', { uri });
  await moved;
  const there = await after;
  const last = beatsOf(source.lines).at(-1)!;
  t.equal(there[0]!.n, last.n + 1, 'the heartbeats go on where they were');
  t.ok(there[4]!.dirtied > last.dirtied, 'so does the dirtying');
  t.equal(there[4]!.back, 0, 'time did not go back');
  t.match((await target.ask('v', /^VERIFY (.*)$/))[1], /^ok pages=24576 /);
});

t.test('the guest ends as it is told to', { skip }, async (t) => {
  // A machine of type microvm has no i8042; with q35 under KVM the firmware alone may take three seconds.
  for (const [command, accel] of [
    ['x', 'tcg'],
    ['t', 'tcg'],
    ['t', accelerator()],
  ] as const) {
    const guest = new QemuGuest('', ['-M', accel === 'tcg' ? 'q35' : 'microvm'], accel);
    t.teardown(() => guest.kill());
    await guest.nextLine(BEAT);
    const event = guest.nextEvent((e) => e.event === 'SHUTDOWN' && e.data.reason === 'guest-reset');
    guest.send(command);
    await event;
    t.equal(await guest.exited, 0, `${command} under ${accel} is a reset`);
  }
  const guest = new QemuGuest('');
  t.teardown(() => guest.kill());
  await guest.nextLine(BEAT);
  guest.send('q');
  t.equal(await guest.exited, 33, 'q ends through the debug-exit port');
});
