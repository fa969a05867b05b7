/** What an exit from KVM_RUN means, in words: for exits this project does not handle, and for a log. */
import { EXIT, exitName, INTERNAL_ERROR_NAMES, RUN } from '../../kvm/abi.js';
import type { KvmRegs } from '../../kvm/structs.js';

const MAX_DATA_WORDS = 16;

/** One line on an exit that stops the guest: its name, the kernel's details, and where the guest was. */
export function describeExit(run: DataView, regs: Pick<KvmRegs, 'rip' | 'rflags'>): string {
  const reason = run.getUint32(RUN.exit_reason, true);
  const hex = (value: bigint) => `0x${value.toString(16)}`;
  let details = '';
  if (reason === EXIT.INTERNAL_ERROR) {
    const suberror = run.getUint32(RUN.internal_suberror, true);
    const count = Math.min(run.getUint32(RUN.internal_ndata, true), MAX_DATA_WORDS);
    const data = Array.from({ length: count }, (_, i) => hex(run.getBigUint64(RUN.internal_data + 8 * i, true)));
    details = ` suberror ${suberror} (${INTERNAL_ERROR_NAMES[suberror] ?? 'unknown'})`;
    if (data.length > 0) details += ` data ${data.join(' ')}`;
  } else if (reason === EXIT.FAIL_ENTRY) {
    details = ` hardware_entry_failure_reason ${hex(run.getBigUint64(RUN.fail_entry_reason, true))}`;
  } else if (reason === EXIT.UNKNOWN) {
    details = ` hardware_exit_reason ${hex(run.getBigUint64(RUN.hw_exit_reason, true))}`;
  } else if (reason === EXIT.SYSTEM_EVENT) {
    details = ` type ${run.getUint32(RUN.system_event_type, true)}`;
  }
  return `${exitName(reason)}${details} at rip ${hex(regs.rip)} rflags ${hex(regs.rflags)}`;
}
