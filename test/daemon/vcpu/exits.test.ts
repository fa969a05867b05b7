import t from 'tap';
import { describeExit } from '../../../daemon/vcpu/exits.js';
import { EXIT, RUN } from '../../../kvm/abi.js';

const regs = { rip: 0xffffffff81000000n, rflags: 0x10002n };

function exit(reason: number, fill: (run: DataView) => void = () => {}): string {
  const run = new DataView(new ArrayBuffer(4096));
  run.setUint32(RUN.exit_reason, reason, true);
  fill(run);
  return describeExit(run, regs);
}

t.test('an exit that stops the guest is told with the details its reason has', (t) => {
  const where = 'at rip 0xffffffff81000000 rflags 0x10002';
  t.equal(
    exit(EXIT.INTERNAL_ERROR, (run) => {
      run.setUint32(RUN.internal_suberror, 1, true);
      run.setUint32(RUN.internal_ndata, 2, true);
      run.setBigUint64(RUN.internal_data, 0xabn, true);
      run.setBigUint64(RUN.internal_data + 8, 2n ** 64n - 1n, true);
    }),
    `KVM_EXIT_INTERNAL_ERROR suberror 1 (KVM_INTERNAL_ERROR_EMULATION) data 0xab 0xffffffffffffffff ${where}`,
  );
  t.equal(
    exit(EXIT.INTERNAL_ERROR, (run) => run.setUint32(RUN.internal_suberror, 99, true)),
    `KVM_EXIT_INTERNAL_ERROR suberror 99 (unknown) ${where}`,
  );
  t.equal(
    exit(EXIT.INTERNAL_ERROR, (run) => run.setUint32(RUN.internal_ndata, 0xffffffff, true)).match(/0x0\b/g)?.length,
    16,
    'no more data than the struct holds',
  );
  t.equal(
    exit(EXIT.FAIL_ENTRY, (run) => run.setBigUint64(RUN.fail_entry_reason, 0x80000021n, true)),
    `KVM_EXIT_FAIL_ENTRY hardware_entry_failure_reason 0x80000021 ${where}`,
  );
  t.equal(
    exit(EXIT.UNKNOWN, (run) => run.setBigUint64(RUN.hw_exit_reason, 7n, true)),
    `KVM_EXIT_UNKNOWN hardware_exit_reason 0x7 ${where}`,
  );
  t.equal(
    exit(EXIT.SYSTEM_EVENT, (run) => run.setUint32(RUN.system_event_type, 3, true)),
    `KVM_EXIT_SYSTEM_EVENT type 3 ${where}`,
  );
  t.equal(exit(EXIT.DEBUG), `KVM_EXIT_DEBUG ${where}`);
  t.equal(exit(4711), `exit reason 4711 ${where}`);
  t.end();
});
