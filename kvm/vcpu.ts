/** One vCPU fd: running it, and reading and writing all of its state. */
import { IOCTL, type IoctlName, MSR } from './abi.js';
import { check, SysError } from './errors.js';
import type { Struct } from './layout.js';
import * as libc from './libc_unsafe.js';
import { closeFd, Mapping } from './memory.js';
import {
  type KvmCpuidEntry,
  type KvmDebugregs,
  type KvmRegs,
  type KvmSregs,
  type KvmSregs2,
  type KvmVcpuEvents,
  type KvmXcrs,
  kvmCpuidEntry,
  kvmDebugregs,
  kvmRegs,
  kvmSregs,
  kvmSregs2,
  kvmTranslation,
  kvmVcpuEvents,
  kvmXcrs,
} from './structs.js';

/** What a vCPU must be told of its host before its state can be read in full. */
export interface VcpuTraits {
  /** KVM_CAP_SREGS2: the PDPTRs are part of the state. */
  readonly sregs2: boolean;
  /** Bytes of the XSAVE area (KVM_CAP_XSAVE2), or 0: the fixed 4096 of KVM_GET_XSAVE. */
  readonly xsaveBytes: number;
  /** KVM_GET_MSR_INDEX_LIST. */
  readonly msrIndexes: readonly number[];
  readonly getTscKhz: boolean;
  readonly setTscKhz: boolean;
}

/** All state of one vCPU. 64-bit values are bigints; `xsave` and `lapic` are the architectural images. */
export interface VcpuState {
  regs: KvmRegs;
  sregs: KvmSregs | KvmSregs2;
  xsave: Uint8Array;
  xcrs: KvmXcrs;
  debugregs: KvmDebugregs;
  msrs: [index: number, value: bigint][];
  events: KvmVcpuEvents;
  mp_state: number;
  lapic: Uint8Array;
  cpuid: KvmCpuidEntry[];
  tsc_khz: number;
}

/** What a debugger shows of a vCPU. `fxsave` is the 512 bytes of FXSAVE: the legacy part of the XSAVE area. */
export interface VcpuRegisters {
  regs: KvmRegs;
  sregs: KvmSregs;
  debugregs: KvmDebugregs;
  fxsave: Uint8Array;
  events: KvmVcpuEvents;
  mp_state: number;
  kernel_gs_base: bigint;
}

const FXSAVE_BYTES = 512;
const LAPIC_BYTES = 1024;
const XSAVE_BYTES = 4096;
const EFER_LMA = 1n << 10n;
const CR4_LA57 = 1n << 12n;
/** The local APIC's registers: arch/x86/include/asm/apicdef.h. */
const APIC_LVT1 = 0x360;
const APIC_LVT_MASKED = 0x10000;
const APIC_DM_NMI = 4;
const KVM_VCPUEVENT_VALID_NMI_PENDING = 1;
const KVM_VCPUEVENT_VALID_SIPI_VECTOR = 2;

export class Vcpu implements Disposable {
  readonly fd: number;
  readonly id: number;
  /** `struct kvm_run` and the data page behind it, shared with the kernel. */
  readonly run: DataView;
  readonly runBytes: Uint8Array;
  readonly #mapping: Mapping;
  readonly #traits: VcpuTraits;
  #disposed = false;

  /** Takes over `fd` (from `Vm.createVcpu`): disposing closes it. */
  constructor(fd: number, id: number, mmapSize: number, traits: VcpuTraits) {
    this.fd = fd;
    this.id = id;
    this.#traits = traits;
    try {
      this.#mapping = Mapping.ofFd(fd, mmapSize);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    this.run = this.#mapping.dataView();
    this.runBytes = this.#mapping.view(0, mmapSize);
  }

  /** Address of `struct kvm_run`, for the thread that sets `immediate_exit`. */
  get runAddress(): number {
    return this.#mapping.address;
  }

  /** KVM_RUN: 0 with `exit_reason` set, or `-errno` (`-EINTR` when kicked). */
  enter(): number {
    return libc.ioctl(this.fd, IOCTL.KVM_RUN);
  }

  getRegs(): KvmRegs {
    return this.#get('KVM_GET_REGS', kvmRegs);
  }

  setRegs(regs: KvmRegs): void {
    this.#set('KVM_SET_REGS', kvmRegs, regs);
  }

  getSregs(): KvmSregs {
    return this.#get('KVM_GET_SREGS', kvmSregs);
  }

  setSregs(sregs: KvmSregs): void {
    this.#set('KVM_SET_SREGS', kvmSregs, sregs);
  }

  setCpuid(entries: readonly KvmCpuidEntry[]): void {
    const view = new DataView(new ArrayBuffer(8 + entries.length * kvmCpuidEntry.size));
    view.setUint32(0, entries.length, true);
    entries.forEach((entry, i) => {
      kvmCpuidEntry.encode(entry, view, 8 + i * kvmCpuidEntry.size);
    });
    this.#call('KVM_SET_CPUID2', view);
  }

  getCpuid(): KvmCpuidEntry[] {
    const view = new DataView(new ArrayBuffer(8 + 256 * kvmCpuidEntry.size));
    view.setUint32(0, 256, true);
    this.#call('KVM_GET_CPUID2', view);
    const count = view.getUint32(0, true);
    return Array.from({ length: count }, (_, i) => kvmCpuidEntry.decode(view, 8 + i * kvmCpuidEntry.size));
  }

  getMpState(): number {
    const view = new DataView(new ArrayBuffer(4));
    this.#call('KVM_GET_MP_STATE', view);
    return view.getUint32(0, true);
  }

  setMpState(state: number): void {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, state, true);
    this.#call('KVM_SET_MP_STATE', view);
  }

  /** MSR values; one that the kernel lists but does not give is left out. */
  getMsrs(indexes: readonly number[]): [number, bigint][] {
    const values: [number, bigint][] = [];
    for (let from = 0; from < indexes.length; ) {
      const view = msrBuffer(indexes.slice(from).map((index) => [index, 0n]));
      const done = this.#call('KVM_GET_MSRS', view);
      for (let i = 0; i < done; i++) {
        values.push([view.getUint32(8 + 16 * i, true), view.getBigUint64(16 + 16 * i, true)]);
      }
      from += done + 1; // the one the kernel stopped at has no value to read
    }
    return values;
  }

  /**
   * Sets MSRs. One that this host refuses is passed over when it already has that value.
   * @throws Error naming the MSR and the value otherwise
   */
  setMsrs(msrs: readonly (readonly [number, bigint])[]): void {
    for (let from = 0; from < msrs.length; ) {
      const done = this.#call('KVM_SET_MSRS', msrBuffer(msrs.slice(from)));
      from += done;
      if (from < msrs.length) {
        const [index, wanted] = msrs[from] as readonly [number, bigint];
        const current = this.getMsrs([index])[0]?.[1];
        if (current !== wanted) {
          const has = current === undefined ? 'does not have it' : `keeps 0x${current.toString(16)}`;
          throw new Error(`MSR 0x${index.toString(16)} cannot be set to 0x${wanted.toString(16)}: this host ${has}`);
        }
        from++;
      }
    }
  }

  /** Reads what a debugger shows. Changes nothing, so that the guest may go on after it. */
  getRegisters(): VcpuRegisters {
    return {
      regs: this.getRegs(),
      sregs: this.getSregs(),
      debugregs: this.#get('KVM_GET_DEBUGREGS', kvmDebugregs),
      fxsave: this.#getXsave().slice(0, FXSAVE_BYTES),
      events: this.#get('KVM_GET_VCPU_EVENTS', kvmVcpuEvents),
      mp_state: this.getMpState(),
      kernel_gs_base: this.getMsrs([MSR.KERNEL_GS_BASE])[0]?.[1] ?? 0n,
    };
  }

  /** Guest-physical addresses of guest-virtual ones, as supervisor code would reach them now; undefined where nothing is mapped. */
  translate(addresses: readonly bigint[]): (bigint | undefined)[] {
    const { efer, cr4 } = this.getSregs();
    const bits = (efer & EFER_LMA) === 0n ? 64 : (cr4 & CR4_LA57) === 0n ? 48 : 57;
    const view = new DataView(new ArrayBuffer(kvmTranslation.size));
    return addresses.map((address) => {
      // The kernel's walk looks at the low bits alone.
      if (BigInt.asUintN(64, BigInt.asIntN(bits, address)) !== address) return undefined;
      kvmTranslation.encode(
        { linear_address: address, physical_address: 0n, valid: 0, writeable: 0, usermode: 0 },
        view,
      );
      this.#call('KVM_TRANSLATE', view);
      const { valid, physical_address } = kvmTranslation.decode(view);
      return valid ? physical_address : undefined;
    });
  }

  /**
   * A non-maskable interrupt, as the board's NMI line gives it: through the local APIC's LINT1, if the guest has set that up for it.
   * See QEMU's hw/i386/kvm/apic.c, do_inject_external_nmi.
   */
  nmi(): void {
    const lint1 = new DataView(this.#getBytes('KVM_GET_LAPIC', LAPIC_BYTES).buffer).getUint32(APIC_LVT1, true);
    if ((lint1 & APIC_LVT_MASKED) !== 0 || ((lint1 >> 8) & 7) !== APIC_DM_NMI) return;
    this.#call('KVM_NMI', 0);
  }

  /** A new fd of this vCPU's statistics (stats.ts); the caller closes it. */
  statsFd(): number {
    return this.#call('KVM_GET_STATS_FD', 0);
  }

  /** Tells the guest's watchdogs that it was paused; a guest without the paravirtual clock has none to tell. */
  kvmclockCtrl(): void {
    const rc = libc.ioctl(this.fd, IOCTL.KVM_KVMCLOCK_CTRL);
    if (rc < 0 && rc !== -22) throw new SysError('KVM_KVMCLOCK_CTRL', -rc);
  }

  /** Reads all state. The vCPU must be parked, with no I/O left to complete. */
  saveState(): VcpuState {
    const traits = this.#traits;
    return {
      // mp_state first: reading it lets the kernel take in a pending INIT or SIPI.
      mp_state: this.getMpState(),
      regs: this.getRegs(),
      sregs: traits.sregs2 ? this.#get('KVM_GET_SREGS2', kvmSregs2) : this.getSregs(),
      xsave: this.#getXsave(),
      xcrs: this.#get('KVM_GET_XCRS', kvmXcrs),
      debugregs: this.#get('KVM_GET_DEBUGREGS', kvmDebugregs),
      lapic: this.#getBytes('KVM_GET_LAPIC', LAPIC_BYTES),
      tsc_khz: traits.getTscKhz ? this.#call('KVM_GET_TSC_KHZ', 0) : 0,
      cpuid: this.getCpuid(),
      msrs: this.getMsrs(traits.msrIndexes),
      events: this.#get('KVM_GET_VCPU_EVENTS', kvmVcpuEvents),
    };
  }

  /**
   * Loads what `saveState` gave on this or an equal host. Order matters: CPUID decides what may be set at all; the APIC base (sregs) precedes
   * the APIC; the TSC precedes its deadline, which needs the APIC's timer mode.
   * @throws SysError or Error naming what this host refuses
   */
  loadState(state: VcpuState): void {
    this.setCpuid(state.cpuid);
    this.#setTscKhz(state.tsc_khz);
    this.setMpState(state.mp_state);
    this.setRegs(state.regs);
    if ('pdptrs' in state.sregs) {
      if (!this.#traits.sregs2) throw new Error('the state has PDPTRs (kvm_sregs2) and this host cannot load them');
      this.#set('KVM_SET_SREGS2', kvmSregs2, state.sregs);
    } else {
      this.setSregs(state.sregs);
    }
    this.#setXsave(state.xsave);
    this.#set('KVM_SET_XCRS', kvmXcrs, state.xcrs);
    this.#set('KVM_SET_DEBUGREGS', kvmDebugregs, state.debugregs);
    this.#setBytes('KVM_SET_LAPIC', state.lapic, LAPIC_BYTES);
    const rank = (index: number) => (index === MSR.IA32_TSC ? 0 : index === MSR.IA32_TSC_DEADLINE ? 2 : 1);
    this.setMsrs([...state.msrs].sort((a, b) => rank(a[0]) - rank(b[0])));
    const valid = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR;
    this.#set('KVM_SET_VCPU_EVENTS', kvmVcpuEvents, { ...state.events, flags: state.events.flags | valid });
  }

  #setTscKhz(khz: number): void {
    if (khz === 0 || !this.#traits.getTscKhz || this.#call('KVM_GET_TSC_KHZ', 0) === khz) return;
    if (!this.#traits.setTscKhz) {
      throw new Error(`the guest's TSC runs at ${khz} kHz and this host cannot scale its own (no KVM_CAP_TSC_CONTROL)`);
    }
    this.#call('KVM_SET_TSC_KHZ', khz);
  }

  #getXsave(): Uint8Array {
    const { xsaveBytes } = this.#traits;
    return xsaveBytes > 0
      ? this.#getBytes('KVM_GET_XSAVE2', Math.max(xsaveBytes, XSAVE_BYTES))
      : this.#getBytes('KVM_GET_XSAVE', XSAVE_BYTES);
  }

  #setXsave(xsave: Uint8Array): void {
    this.#setBytes('KVM_SET_XSAVE', xsave, Math.max(this.#traits.xsaveBytes, XSAVE_BYTES));
  }

  #call(name: IoctlName, argument: number | DataView): number {
    const rc =
      typeof argument === 'number'
        ? libc.ioctl(this.fd, IOCTL[name], argument)
        : libc.ioctlBytes(this.fd, IOCTL[name], argument);
    return check(name, rc, `vCPU ${this.id}`);
  }

  #get<T>(name: IoctlName, type: Struct<T>): T {
    const view = new DataView(new ArrayBuffer(type.size));
    this.#call(name, view);
    return type.decode(view);
  }

  #set<T>(name: IoctlName, type: Struct<T>, value: T): void {
    const view = new DataView(new ArrayBuffer(type.size));
    type.encode(value, view);
    this.#call(name, view);
  }

  #getBytes(name: IoctlName, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#call(name, new DataView(bytes.buffer));
    return bytes;
  }

  #setBytes(name: IoctlName, bytes: Uint8Array, length: number): void {
    if (bytes.length > length) {
      throw new Error(`${name}: ${bytes.length} bytes of state, and this host's vCPU holds ${length}`);
    }
    const whole = new Uint8Array(length);
    whole.set(bytes);
    this.#call(name, new DataView(whole.buffer));
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#mapping[Symbol.dispose]();
    closeFd(this.fd);
  }
}

function msrBuffer(msrs: readonly (readonly [number, bigint])[]): DataView {
  const view = new DataView(new ArrayBuffer(8 + 16 * msrs.length));
  view.setUint32(0, msrs.length, true);
  msrs.forEach(([index, value], i) => {
    view.setUint32(8 + 16 * i, index, true);
    view.setBigUint64(16 + 16 * i, value, true);
  });
  return view;
}
