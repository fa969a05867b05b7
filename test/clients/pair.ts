/** What every client here is put to: a guest that runs, a place it can go to, and a look at what became of it. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { noKvm, TestDaemon } from '../helpers/daemons.js';
import { consecutive, heartbeats } from '../helpers/migration.js';

export interface Pair {
  readonly source: TestDaemon;
  readonly destination: TestDaemon;
  /** Where to migrate to. */
  readonly uri: string;
  /** The sources's QMP socket, on which the test itself is a client too. */
  readonly socket: string;
}

/** A daemon with a busy guest and one that waits for it. */
export async function pair(t: Test): Promise<Pair> {
  const [source, { daemon: destination, uri }] = await Promise.all([
    TestDaemon.source(t, 'fill=16 ws=1 rate=500 hb=20'),
    TestDaemon.destination(t),
  ]);
  return { source, destination, uri, socket: join(source.dir, 'qmp') };
}

/** The guest has moved: it stands still here, and goes on there with its memory whole. */
export async function assertMoved(t: Test, { source, destination }: Pair): Promise<void> {
  await destination.line(/^HB /);
  t.equal(await source.status(), 'postmigrate');
  t.equal(await destination.status(), 'running');
  t.match(await destination.verify(), /^VERIFY ok/);
  const beats = heartbeats(source, destination);
  t.same(beats, consecutive(beats), 'no heartbeat is lost or comes twice');
}

/** Why a test cannot run here, or false: no KVM, or one of the programs it drives is missing. */
export function cannotRun(...programs: string[]): string | false {
  const missing = programs.find((program) => spawnSync('which', [program]).status !== 0);
  return missing === undefined ? noKvm() : `${missing} is not installed`;
}

export const run = promisify(execFile);

/** Runs a shell script to its end. @returns what it wrote; the exit code of a script that fails is an error */
export async function shell(script: string, env: NodeJS.ProcessEnv): Promise<string> {
  const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', script], {
    env: { ...process.env, ...env },
    timeout: 30_000,
  });
  return stdout;
}

/** Starts a program that ends with the test. */
export function background(t: Test, command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => {
    child.kill('SIGKILL');
  });
  return child;
}
