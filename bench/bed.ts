/** What a bench that compares with QEMU stands on: KVM, QEMU, a folder, and the processes that must not outlive it. */
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import type { VmProcess } from '../demo/vm_process.js';
import { qemuVersion } from './hosts.js';

const KVM = '/dev/kvm';

export interface Machine {
  readonly kernel: string;
  readonly cpu: string | undefined;
  readonly cores: number;
  readonly memory: number;
  readonly node: string;
  readonly qemu: string;
}

export interface Bed {
  readonly machine: Machine;
  /** For sockets; removed at the end, when whatever is in `vms` is ended too. */
  readonly dir: string;
  readonly vms: Set<VmProcess>;
}

/** Makes the bed and prints on which machine it stands. @throws Error with one sentence when there is no KVM or no QEMU */
export function makeBed(): Bed {
  try {
    accessSync(KVM, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new Error(`the bench needs KVM, and ${KVM} cannot be opened`, { cause });
  }
  const qemu = qemuVersion();
  if (qemu === undefined) {
    throw new Error("there is no QEMU to compare with; install it ('sudo apt-get install qemu-system-x86')");
  }
  const vms = new Set<VmProcess>();
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-bench-'));
  process.once('exit', () => {
    for (const vm of vms) vm.killNow();
    rmSync(dir, { recursive: true, force: true });
  });
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => process.exit(code));
  }
  const machine = {
    kernel: release(),
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memory: totalmem(),
    node: process.version,
    qemu,
  };
  console.log(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, ${qemu}`);
  return { machine, dir, vms };
}

/** Says on a terminal what is going on, over what it said before. */
export function status(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}\x1b[K`);
}

/** Runs a bench; what it throws is one sentence on standard error and exit code 1. */
export async function runBench(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    console.error(`bench: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
