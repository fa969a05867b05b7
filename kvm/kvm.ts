/** `/dev/kvm`: what this host offers, and the making of VMs. */
import { CAP, type CapName, IOCTL, type IoctlName, KVM_API_VERSION } from './abi.js';
import { check, MissingCapabilityError, SysError } from './errors.js';
import * as libc from './libc_unsafe.js';
import { closeFd } from './memory.js';
import { type KvmCpuidEntry, kvmCpuidEntry } from './structs.js';
import { Vm } from './vm.js';

const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
const E2BIG = 7;

/** Capabilities without which no VM of this project can run, and what each is for. */
const REQUIRED: readonly (readonly [CapName, string])[] = [
  ['KVM_CAP_USER_MEMORY', 'to give the guest memory'],
  ['KVM_CAP_IRQCHIP', 'for the in-kernel interrupt controllers'],
  ['KVM_CAP_PIT2', 'for the in-kernel timer'],
  ['KVM_CAP_IRQFD', 'to raise interrupts by eventfd'],
  ['KVM_CAP_IOEVENTFD', 'for doorbells by eventfd'],
  ['KVM_CAP_SET_TSS_ADDR', 'to run real-mode code'],
  ['KVM_CAP_READONLY_MEM', 'to give the guest firmware'],
  ['KVM_CAP_EXT_CPUID', 'to give the guest its CPUID'],
  ['KVM_CAP_MP_STATE', 'to save and restore a vCPU'],
  ['KVM_CAP_VCPU_EVENTS', 'to save and restore a vCPU'],
  ['KVM_CAP_DEBUGREGS', 'to save and restore a vCPU'],
  ['KVM_CAP_XSAVE', 'to save and restore a vCPU'],
  ['KVM_CAP_XCRS', 'to save and restore a vCPU'],
  ['KVM_CAP_ADJUST_CLOCK', 'to save and restore the guest clock'],
  ['KVM_CAP_IMMEDIATE_EXIT', 'to stop a vCPU without a race'],
  ['KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2', 'to track what the guest writes during a migration'],
];

/** ioctl by name, `SysError` on failure. */
export function kvmIoctl(fd: number, name: IoctlName, argument: number | libc.Bytes = 0, about?: string): number {
  const rc =
    typeof argument === 'number' ? libc.ioctl(fd, IOCTL[name], argument) : libc.ioctlBytes(fd, IOCTL[name], argument);
  return check(name, rc, about);
}

/** The system's KVM device. */
export class Kvm implements Disposable {
  readonly fd: number;
  #disposed = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * Opens `/dev/kvm` and checks the API version and every capability this project needs.
   * @throws SysError when it cannot be opened, MissingCapabilityError naming the first capability that is missing
   */
  static open(path = '/dev/kvm'): Kvm {
    const fd = libc.open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) throw new SysError('open', -fd, path);
    const kvm = new Kvm(fd);
    try {
      const version = kvmIoctl(fd, 'KVM_GET_API_VERSION', 0, path);
      if (version !== KVM_API_VERSION) throw new Error(`${path} speaks KVM API ${version}, not ${KVM_API_VERSION}`);
      requireCapabilities((cap) => kvm.capability(cap));
      return kvm;
    } catch (error) {
      kvm[Symbol.dispose]();
      throw error;
    }
  }

  /** KVM_CHECK_EXTENSION: 0 where absent, else 1 or the capability's own number. */
  capability(name: CapName): number {
    return kvmIoctl(this.fd, 'KVM_CHECK_EXTENSION', CAP[name]);
  }

  /** Bytes to map of each vCPU fd (`struct kvm_run` and its PIO page). */
  vcpuMmapSize(): number {
    return kvmIoctl(this.fd, 'KVM_GET_VCPU_MMAP_SIZE');
  }

  createVm(): Vm {
    return new Vm(kvmIoctl(this.fd, 'KVM_CREATE_VM'));
  }

  /** CPUID leaves this host can give to a guest. */
  supportedCpuid(): KvmCpuidEntry[] {
    for (let n = 64; n <= 1024; n *= 2) {
      const view = new DataView(new ArrayBuffer(8 + n * kvmCpuidEntry.size));
      view.setUint32(0, n, true);
      const rc = libc.ioctlBytes(this.fd, IOCTL.KVM_GET_SUPPORTED_CPUID, view);
      if (rc === -E2BIG) continue;
      check('KVM_GET_SUPPORTED_CPUID', rc);
      const count = view.getUint32(0, true);
      return Array.from({ length: count }, (_, i) => kvmCpuidEntry.decode(view, 8 + i * kvmCpuidEntry.size));
    }
    throw new SysError('KVM_GET_SUPPORTED_CPUID', E2BIG);
  }

  /** Indexes of the MSRs that make up a vCPU's state on this host. */
  msrIndexList(): number[] {
    const probe = new DataView(new ArrayBuffer(4 + 4 * 1024));
    probe.setUint32(0, 1024, true);
    kvmIoctl(this.fd, 'KVM_GET_MSR_INDEX_LIST', probe);
    return Array.from({ length: probe.getUint32(0, true) }, (_, i) => probe.getUint32(4 + 4 * i, true));
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    closeFd(this.fd);
  }
}

/** @throws MissingCapabilityError for the first required capability that `has` reports as 0 */
export function requireCapabilities(has: (name: CapName) => number): void {
  for (const [name, neededFor] of REQUIRED) {
    if (has(name) === 0) throw new MissingCapabilityError(name, neededFor);
  }
}
