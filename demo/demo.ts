/** `npm run demo`: a running guest moves from one daemon to another, on this machine, before your eyes. */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProgressBar } from '../daemon/ctl/progress_bar.js';
import { introduction, report } from './report.js';
import { runScenario } from './scenario.js';
import type { VmProcess } from './vm_process.js';

/** Exit codes: 0 all is well, 1 something failed, 2 this machine has no KVM for us, 128 + n ended by signal n. */
const FAILED = 1;
const NO_KVM = 2;
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** The device that is tried first; VMHOSTD_KVM names another, so that the answer to its absence can be seen anywhere. */
const KVM = process.env.VMHOSTD_KVM ?? '/dev/kvm';

/** Why KVM cannot be used and what to do about it, in one sentence; or undefined. */
function noKvm(): string | undefined {
  try {
    closeSync(openSync(KVM, 'r+'));
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const remedy =
      code === 'EACCES' || code === 'EPERM'
        ? "your user may not open it: join its group ('sudo usermod -aG kvm $USER', then log in again) or run this as root"
        : "switch on virtualization (VT-x or AMD-V) in the machine's firmware, or nested virtualization if this is a VM, and load KVM ('sudo modprobe kvm_intel' or 'kvm_amd'; in a container, start it with '--device /dev/kvm')";
    return `the demo needs KVM, and ${KVM} cannot be opened (${code}): ${remedy}.`;
  }
}

async function main(): Promise<number> {
  const missing = noKvm();
  if (missing !== undefined) {
    console.error(missing);
    return NO_KVM;
  }
  // Nobody reads any more, as in `npm run demo | head`.
  process.stdout.on('error', () => process.exit(FAILED));
  const vms: VmProcess[] = [];
  const bar = new ProgressBar(process.stdout);
  let dir: string | undefined;
  // Whatever ends this process, no other outlives it.
  process.once('exit', () => {
    for (const vm of vms) vm.killNow();
    if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
  });
  for (const [signal, code] of Object.entries(SIGNALS)) process.once(signal, () => process.exit(code));
  try {
    dir = mkdtempSync(join(tmpdir(), 'vmhostd-demo-'));
    console.log(`${introduction()}\n`);
    const outcome = await runScenario(dir, {
      step: (text) => {
        bar.end();
        console.log(`- ${text}`);
      },
      progress: (info) => bar.show(info, performance.now()),
      spawned: (vm) => vms.push(vm),
    });
    bar.end();
    console.log(`\n${report(outcome)}`);
    return 0;
  } catch (error) {
    bar.end();
    console.error(`The demo failed: ${(error as Error).message.replace(/\.$/, '')}.`);
    return FAILED;
  } finally {
    await Promise.all(vms.map((vm) => vm.end()));
    for (const { name, stderr } of vms) if (stderr !== '') console.error(`The ${name} said:\n${stderr}`);
  }
}

process.exitCode = await main();
