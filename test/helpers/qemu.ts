/** QEMU 7.2 beside the daemon, for tests that ask both the same. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Test } from 'tap';
import { QmpClient } from '../../client/qmp_client.js';
import { DaemonProcess } from './daemon.js';

const QEMU = 'qemu-system-x86_64';

/** Why there is no QEMU 7.2 to compare with here, or false. */
export function noQemu72(): string | false {
  try {
    const version = /version (\S+)/.exec(execFileSync(QEMU, ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown';
    return version.startsWith('7.2.') ? false : `${QEMU} is of version ${version}, not 7.2`;
  } catch {
    return `${QEMU} is not installed`;
  }
}

/** Starts QEMU; returns a client of it, which has negotiated. The end of the test ends both. */
export async function startQemu(t: Test, args: readonly string[]): Promise<QmpClient> {
  const qemu = new DaemonProcess(t, [...args, '-qmp', 'unix:@/qmp,server=on,wait=off'], {}, [QEMU]);
  await qemu.until('the socket', () => existsSync(qemu.path('qmp')) || undefined);
  const connect = () => QmpClient.connect(`unix:${qemu.path('qmp')}`);
  // The file is there at bind(2), a moment before listen(2).
  const client = await connect().catch(() => new Promise((resolve) => setTimeout(resolve, 200)).then(connect));
  t.teardown(() => client.close());
  return client;
}
