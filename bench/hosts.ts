/** The two programs that are compared, each started the same way: same guest image, same memory, same sockets. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { QmpClient } from '../client/qmp_client.js';
import { VmProcess } from '../demo/vm_process.js';
import type { Scenario } from './scenarios.js';

const DAEMON = fileURLToPath(new URL('../daemon/vmhostd.js', import.meta.url));
const GUEST = fileURLToPath(new URL('../../guest/vmguest.elf', import.meta.url));
const QEMU = 'qemu-system-x86_64';

export type HostName = 'vmhostd' | 'QEMU';
export type Policy = 'mplm' | 'precopy';

/** What `qemu-system-x86_64 --version` says first; or undefined where it is not installed. */
export function qemuVersion(): string | undefined {
  try {
    return execFileSync(QEMU, ['--version'], { encoding: 'utf8' }).split('\n')[0];
  } catch {
    return undefined;
  }
}

/** A source (with more arguments if need be) whose guest waits for `cont`, and a destination that listens on a free port of the loopback. */
export async function startPair(
  host: HostName,
  { ramMib, load }: Scenario,
  dir: string,
  onSpawn: (vm: VmProcess) => void,
  { heartbeatMs, sourceArgs = [] }: { readonly heartbeatMs: number; readonly sourceArgs?: readonly string[] },
): Promise<{ source: VmProcess; destination: VmProcess }> {
  const machine = ['-m', `${ramMib}`, '-kernel', GUEST, '-append', `${load} hb=${heartbeatMs}`];
  const [command, first] =
    host === 'vmhostd'
      ? [process.execPath, [DAEMON]]
      : [QEMU, ['-M', 'microvm', '-accel', 'kvm', '-nodefaults', '-display', 'none']];
  const start = (name: string, ...last: string[]) =>
    VmProcess.start({ name, dir, command, args: [...first, ...machine, ...last] }, onSpawn);
  const [source, destination] = await Promise.all([
    start(`${host}-source`, '-S', ...sourceArgs),
    start(`${host}-destination`, '-incoming', 'tcp:127.0.0.1:0'),
  ]);
  return { source, destination };
}

/** Sets what both are measured with: no limit of bandwidth. QEMU has one policy only. */
export async function configure(host: HostName, source: QmpClient, policy: Policy): Promise<void> {
  if (host === 'vmhostd') await source.execute('set-mplm-migration', { enable: policy === 'mplm' });
  await source.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
}
