import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const DEMO = fileURLToPath(new URL('../../demo/demo.js', import.meta.url));

function noKvm(): string | false {
  try {
    closeSync(openSync('/dev/kvm', 'r+'));
    return false;
  } catch (error) {
    return `/dev/kvm cannot be opened: ${(error as Error).message}`;
  }
}

/** Runs the demo with a folder for temporary files that only it uses. */
function runDemo(t: Test, env: NodeJS.ProcessEnv = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'demo-test-'));
  const child = spawn(process.execPath, [DEMO], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: folder, ...env },
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  t.teardown(() => {
    child.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { child, folder, output, ended };
}

/** Resolves when the demo has printed `text`. */
function printed(child: ChildProcess, output: { stdout: string }, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (output.stdout.includes(text)) resolve();
    };
    look();
    child.stdout?.on('data', look);
    child.once('close', () => reject(new Error(`the demo ended before it printed '${text}'`)));
  });
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

t.test('the demo moves a busy guest, verifies it and reports its figures', { skip: noKvm() }, async (t) => {
  const { output, ended, folder } = runDemo(t);
  t.equal(await ended, 0, output.stderr);
  const { stdout } = output;
  t.match(stdout, /^ {2}\[#+\.*\] +\d+ % .*epoch \d+/m, 'progress is shown');
  t.notMatch(stdout, /[\r\x1b]/, 'as plain lines where there is no terminal');
  t.match(stdout, /heartbeats 1 to \d+, none lost or repeated; from \d+ on at the destination/);
  t.match(stdout, /114,688 pages verified/);
  t.match(stdout, /total time +\d+\.\d s/);
  t.match(
    stdout,
    /downtime +\d+ ms, in which the guest stood still:\n +pause the vCPUs [\d.]+, .*resume there [\d.]+$/m,
  );
  t.match(stdout, /buffers +at most [\d.]+ MiB at once; the bound was 4\.0 MiB/);
  t.ok((stdout.match(/^ +\d+ +\d+\.\d s( +[\d,]+){5}$/gm) ?? []).length >= 3, 'several epochs are listed');
  t.equal(output.stderr, '');
  t.same(readdirSync(folder), [], 'its temporary files are gone');
});

t.test('the demo ends its daemons and removes its files when it is interrupted', { skip: noKvm() }, async (t) => {
  const { child, output, ended, folder } = runDemo(t);
  await printed(child, output, 'epoch 0');
  const daemons = childrenOf(child.pid as number);
  t.equal(daemons.length, 2);
  child.kill('SIGINT');
  t.equal(await ended, 130);
  t.same(readdirSync(folder), []);
  for (const pid of daemons) t.ok(await isGone(pid), `daemon ${pid} is gone`);
});

/**
 * Waits until a process that was killed has ended: giving back its memory takes a moment. One that its parent has not yet collected
 * has ended.
 */
async function isGone(pid: number): Promise<boolean> {
  const stat = `/proc/${pid}/stat`;
  for (const deadline = Date.now() + 5000; Date.now() < deadline; await delay(10)) {
    if (!existsSync(stat) || /\) [ZX] /.test(readFileSync(stat, 'utf8'))) return true;
  }
  return false;
}

t.test('a daemon that dies fails the demo with one sentence', { skip: noKvm() }, async (t) => {
  const { child, output, ended, folder } = runDemo(t);
  await printed(child, output, 'epoch 0');
  const [, destination] = childrenOf(child.pid as number);
  process.kill(destination as number, 'SIGKILL');
  t.equal(await ended, 1);
  t.match(output.stderr, /^The demo failed: (destination ended by itself with SIGKILL|the migration failed: .*)\.\n/);
  t.notMatch(output.stderr, /^ {4}at /m, 'there is no stack trace');
  t.same(readdirSync(folder), []);
});

t.test('without KVM the demo says in one sentence how to get it, and exits with 2', async (t) => {
  const { output, ended, folder } = runDemo(t, { VMHOSTD_KVM: '/nonexistent/kvm' });
  t.equal(await ended, 2);
  t.equal(output.stdout, '');
  t.match(output.stderr, /^the demo needs KVM, and \/nonexistent\/kvm cannot be opened \(ENOENT\): .*modprobe.*\.\n$/);
  t.same(readdirSync(folder), []);
});

t.test('where no temporary file can be made the demo says so', { skip: noKvm() }, async (t) => {
  const { output, ended } = runDemo(t, { TMPDIR: '/nonexistent' });
  t.equal(await ended, 1);
  t.match(output.stderr, /^The demo failed: ENOENT: .*\/nonexistent.*\.\n$/);
});
