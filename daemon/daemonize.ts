/**
 * `-daemonize`. Node cannot fork: the first process starts a second one with the same arguments in a session of its own, and waits until it says over a
 * socket that it is up. Until then the second has the first's standard error, so that the reason of a failed start is seen.
 */
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, readdirSync, writeSync } from 'node:fs';
import { dropStandard } from '../kvm/standard_fds.js';

/** Tells the second process which fd it reports on. */
const READY_FD = 'VMHOSTD_READY_FD';
const READY = 'ready';
/** As os_daemonize of QEMU. */
const UMASK = 0o027;

/** The inherited fds that options may name, sockets and files: Node makes them close-on-exec, and has none of these kinds of its own. */
function inheritedFds(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      if (fd < 3) return false;
      try {
        const kind = fstatSync(fd);
        return kind.isSocket() || kind.isFile();
      } catch {
        return false; // the fd that the directory was read by
      }
    });
}

/** Whether this is the process that goes on in the background. */
export function isBackground(): boolean {
  return process.env[READY_FD] !== undefined;
}

/** Starts the second process. @returns the exit code of this one: 0 once the other is up */
export async function startInBackground(): Promise<number> {
  const inherited = inheritedFds();
  let readyFd = 3;
  while (inherited.includes(readyFd)) readyFd++;
  const stdio: ('ignore' | 'inherit' | 'pipe' | number)[] = ['ignore', 'ignore', 'inherit'];
  for (let fd = 3; fd <= Math.max(readyFd, ...inherited); fd++) {
    stdio.push(fd === readyFd ? 'pipe' : inherited.includes(fd) ? fd : 'ignore');
  }
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    env: { ...process.env, [READY_FD]: String(readyFd) },
    stdio,
  });
  const ready = child.stdio[readyFd];
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    ready?.once('data', () => resolve(0));
    child.once('exit', (code) => resolve(code || 1));
  });
}

/** Leaves the terminal and tells the first process that this one is up. */
export function detach(): void {
  const fd = Number(process.env[READY_FD]);
  delete process.env[READY_FD];
  process.chdir('/');
  process.umask(UMASK);
  dropStandard();
  writeSync(fd, READY);
  closeSync(fd);
}
