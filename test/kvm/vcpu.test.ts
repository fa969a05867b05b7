import t from 'tap';
import { EXIT, MP_STATE, RUN } from '../../kvm/abi.js';
import { vcpuStateFromJson, vcpuStateToJson } from '../../kvm/state_json.js';
import { REG_NAMES } from '../../kvm/structs.js';
import { Vcpu, type VcpuState } from '../../kvm/vcpu.js';
import { ASM, MIB, noKvm, TinyVm } from '../helpers/kvm.js';

const skip = noKvm();
const TSC = 0x10;
const STAR = 0xc0000081;

/** Members of a state that stand still: time goes on between two readings. */
function still(state: VcpuState): VcpuState {
  const moving = [TSC, 0x6e0, 0x3b, 0xe7, 0xe8];
  return { ...state, msrs: state.msrs.filter(([index]) => !moving.includes(index)) };
}

t.test('registers of every kind travel from one vCPU to a vCPU of another VM, as JSON text', { skip }, (t) => {
  using one = new TinyVm(4 * MIB);
  using two = new TinyVm(4 * MIB);
  one.load(ASM.exit);
  one.runToExit();
  one.runToExit(); // finishes the OUT, then leaves by the next one
  const regs = one.vcpu.getRegs();
  for (const [i, name] of REG_NAMES.slice(0, 16).entries()) regs[name] = 0x1111_2222_3333_4400n + BigInt(i);
  one.vcpu.setRegs(regs);
  one.vcpu.setMsrs([[STAR, 0x0023_0010_0000_0000n]]);
  const state = one.vcpu.saveState();
  state.debugregs.db[1] = 0x1234n;
  state.xsave[32] = 0x7f; // st0, whose bit of XSTATE_BV says that it is there
  const bv = new DataView(state.xsave.buffer, state.xsave.byteOffset).getUint8(512);
  state.xsave[512] = bv | 1;
  const text = JSON.stringify(vcpuStateToJson(state));
  t.ok(text.length < 256 * 1024, 'it fits into one frame of a migration');
  two.vcpu.loadState(vcpuStateFromJson(JSON.parse(text), 'vcpu-0'));
  const loaded = two.vcpu.saveState();
  t.strictSame(loaded.regs, state.regs);
  t.strictSame(loaded.debugregs, state.debugregs);
  t.equal(loaded.xsave[32], 0x7f);
  const { events: loadedEvents, ...rest } = still(loaded);
  const { events, ...expected } = still(state);
  t.strictSame({ ...rest, lapic: undefined, xsave: undefined }, { ...expected, lapic: undefined, xsave: undefined });
  t.strictSame({ ...loadedEvents, flags: 0 }, { ...events, flags: 0 });
  t.end();
});

t.test('loading what was just saved changes nothing', { skip }, (t) => {
  using tiny = new TinyVm(4 * MIB);
  const before = tiny.vcpu.saveState();
  tiny.vcpu.loadState(before);
  const after = tiny.vcpu.saveState();
  const { events: a, ...rest } = still(after);
  const { events: b, ...expected } = still(before);
  t.strictSame(rest, expected);
  t.strictSame({ ...a, flags: 0 }, { ...b, flags: 0 });
  t.end();
});

t.test('a guest goes on in another VM where it was stopped', { skip }, (t) => {
  using one = new TinyVm(4 * MIB);
  using two = new TinyVm(4 * MIB);
  // inc rbx; out; and again
  one.load([0x48, 0xff, 0xc3, 0xe6, 0x10, 0xeb, 0xf9], { rbx: 41n });
  one.runToExit();
  one.vcpu.run.setUint8(RUN.immediate_exit, 1);
  t.equal(one.vcpu.enter(), -4, 'immediate_exit lets the kernel finish the OUT and no more');
  one.vcpu.run.setUint8(RUN.immediate_exit, 0);
  t.equal(one.vcpu.getRegs().rbx, 42n);
  two.ram.write(0x1000, one.ram.read(0x1000, 4096));
  two.vcpu.loadState(one.vcpu.saveState());
  two.runToExit();
  t.equal(two.vcpu.getRegs().rbx, 43n);
  t.end();
});

t.test(
  'an MSR that this host refuses is named with its value; one that it has so already is passed over',
  { skip },
  (t) => {
    using tiny = new TinyVm(4 * MIB);
    t.throws(() => tiny.vcpu.setMsrs([[0x12345678, 0xabcn]]), {
      message: 'MSR 0x12345678 cannot be set to 0xabc: this host does not have it',
    });
    t.throws(
      () =>
        tiny.vcpu.setMsrs([
          [0x12345678, 1n],
          [STAR, 1n],
        ]),
      { message: /0x12345678/ },
    );
    tiny.vcpu.setMsrs([[STAR, 0x1234_0000_0000n]]);
    t.strictSame(
      tiny.vcpu.getMsrs([0x12345678, STAR, 0x12345679]),
      [[STAR, 0x1234_0000_0000n]],
      'missing ones are left out',
    );
    // IA32_APIC_BASE: reserved bits are refused, the value stays.
    const apicBase = tiny.vcpu.getMsrs([0x1b])[0]?.[1] as bigint;
    t.throws(() => tiny.vcpu.setMsrs([[0x1b, (1n << 63n) | apicBase]]), {
      message: new RegExp(`^MSR 0x1b cannot be set to 0x8[0-9a-f]*: this host keeps 0x${apicBase.toString(16)}$`),
    });
    t.doesNotThrow(() => tiny.vcpu.setMsrs([[0x1b, apicBase]]));
    t.end();
  },
);

t.test('a state that this host cannot hold is refused by what is too much', { skip }, (t) => {
  using tiny = new TinyVm(4 * MIB);
  const state = tiny.vcpu.saveState();
  t.throws(() => tiny.vcpu.loadState({ ...state, xsave: new Uint8Array(60000) }), {
    message: /^KVM_SET_XSAVE: 60000 bytes of state, and this host's vCPU holds \d+$/,
  });
  t.throws(() => tiny.vcpu.loadState({ ...state, mp_state: 77 }), {
    syscall: 'KVM_SET_MP_STATE',
    message: /^vCPU 0: KVM_SET_MP_STATE failed: /,
  });
  const blind = { ...tiny.traits, sregs2: false, setTscKhz: false };
  const fd = tiny.vm.createVcpu(3);
  using vcpu = new Vcpu(fd, 3, tiny.kvm.vcpuMmapSize(), blind);
  t.ok('interrupt_bitmap' in vcpu.saveState().sregs, 'a host without SREGS2 gives the older form');
  if (tiny.traits.sregs2) {
    t.throws(() => vcpu.loadState(state), {
      message: 'the state has PDPTRs (kvm_sregs2) and this host cannot load them',
    });
  }
  if (state.tsc_khz > 0) {
    t.throws(() => vcpu.loadState({ ...state, tsc_khz: state.tsc_khz + 1000 }), {
      message: `the guest's TSC runs at ${state.tsc_khz + 1000} kHz and this host cannot scale its own (no KVM_CAP_TSC_CONTROL)`,
    });
  }
  t.end();
});

t.test(
  'a vCPU other than the first waits for its start-up interrupt, and is told apart by its mp_state',
  { skip },
  (t) => {
    using tiny = new TinyVm(4 * MIB);
    const second = tiny.addVcpu(1);
    t.equal(tiny.vcpu.getMpState(), MP_STATE.RUNNABLE);
    t.equal(second.getMpState(), MP_STATE.UNINITIALIZED);
    second.setMpState(MP_STATE.HALTED);
    t.equal(second.getMpState(), MP_STATE.HALTED);
    t.equal(second.saveState().mp_state, MP_STATE.HALTED);
    t.end();
  },
);

t.test('a triple fault is a shutdown exit, port reads and MMIO come with address and size', { skip }, (t) => {
  using tiny = new TinyVm(4 * MIB);
  const { vcpu } = tiny;
  tiny.load([0x66, 0xed, ...ASM.exit], { rdx: 0x1234n }); // in ax, dx
  t.equal(vcpu.enter(), 0);
  t.equal(vcpu.run.getUint32(RUN.exit_reason, true), EXIT.IO);
  t.equal(vcpu.run.getUint16(RUN.io_port, true), 0x1234);
  t.equal(vcpu.run.getUint8(RUN.io_size), 2);
  vcpu.run.setUint16(Number(vcpu.run.getBigUint64(RUN.io_data_offset, true)), 0xbeef, true);
  tiny.runToExit();
  t.equal(vcpu.getRegs().rax & 0xffffn, 0xbeefn);

  tiny.load([...ASM.store, ...ASM.exit], { rdi: 0xd000_0008n, rax: 0x0102030405060708n });
  t.equal(vcpu.enter(), 0);
  t.equal(vcpu.run.getUint32(RUN.exit_reason, true), EXIT.MMIO);
  t.equal(vcpu.run.getBigUint64(RUN.mmio_phys_addr, true), 0xd000_0008n);
  t.equal(vcpu.run.getUint32(RUN.mmio_len, true), 8);
  t.equal(vcpu.run.getUint8(RUN.mmio_is_write), 1);
  t.equal(vcpu.run.getBigUint64(RUN.mmio_data, true), 0x0102030405060708n);
  tiny.runToExit();

  tiny.load([0x0f, 0x0b]); // ud2, and no IDT
  t.equal(vcpu.enter(), 0);
  t.equal(vcpu.run.getUint32(RUN.exit_reason, true), EXIT.SHUTDOWN);
  t.end();
});

t.test(
  'addresses are translated by the page tables; what they do not map, and what is not canonical, is not',
  { skip },
  (t) => {
    using tiny = new TinyVm(4 * MIB);
    tiny.load(ASM.exit);
    const pageDirectory = new DataView(new ArrayBuffer(8));
    pageDirectory.setBigUint64(0, 0x20003n, true);
    tiny.ram.write(0x11000 + 6 * 8, new Uint8Array(pageDirectory.buffer)); // GiB 6 is what GiB 4 is
    const GIB = 2n ** 30n;
    t.strictSame(
      tiny.vcpu.translate([0n, 0x1234n, 4n * GIB + 5n, 6n * GIB + 0x201234n, 5n * GIB, 2n ** 47n, 2n ** 64n - 1n]),
      [0n, 0x1234n, 4n * GIB + 5n, 4n * GIB + 0x201234n, undefined, undefined, undefined],
    );
    t.end();
  },
);

t.test('what a debugger shows of a vCPU is what it holds', { skip }, (t) => {
  using tiny = new TinyVm(4 * MIB);
  tiny.load(ASM.exit, { rbx: 0x1234n });
  tiny.vcpu.setMsrs([[0xc0000102, 0x5678n]]);
  const { regs, sregs, fxsave, kernel_gs_base, mp_state } = tiny.vcpu.getRegisters();
  t.equal(regs.rbx, 0x1234n);
  t.equal(sregs.cr3, 0x10000n);
  t.equal(kernel_gs_base, 0x5678n);
  t.equal(mp_state, MP_STATE.RUNNABLE);
  t.equal(fxsave.length, 512);
  t.equal(new DataView(fxsave.buffer).getUint16(0, true), 0x37f, 'the x87 control word after reset');
  t.end();
});
