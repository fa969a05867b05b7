/**
 * Numbers of the KVM API, x86-64. Source: include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h (Linux 6.1).
 * Names are the kernel's. No logic here.
 */

export const KVM_API_VERSION = 12;

/** ioctl request numbers by name. */
export const IOCTL = {
  KVM_GET_API_VERSION: 0xae00,
  KVM_CREATE_VM: 0xae01,
  KVM_GET_MSR_INDEX_LIST: 0xc004ae02,
  KVM_CHECK_EXTENSION: 0xae03,
  KVM_GET_VCPU_MMAP_SIZE: 0xae04,
  KVM_GET_SUPPORTED_CPUID: 0xc008ae05,
  KVM_CREATE_VCPU: 0xae41,
  KVM_GET_DIRTY_LOG: 0x4010ae42,
  KVM_SET_USER_MEMORY_REGION: 0x4020ae46,
  KVM_SET_TSS_ADDR: 0xae47,
  KVM_SET_IDENTITY_MAP_ADDR: 0x4008ae48,
  KVM_CREATE_IRQCHIP: 0xae60,
  KVM_IRQ_LINE: 0x4008ae61,
  KVM_GET_IRQCHIP: 0xc208ae62,
  KVM_SET_IRQCHIP: 0x8208ae63,
  KVM_IRQFD: 0x4020ae76,
  KVM_CREATE_PIT2: 0x4040ae77,
  KVM_IOEVENTFD: 0x4040ae79,
  KVM_SET_CLOCK: 0x4030ae7b,
  KVM_GET_CLOCK: 0x8030ae7c,
  KVM_RUN: 0xae80,
  KVM_GET_REGS: 0x8090ae81,
  KVM_SET_REGS: 0x4090ae82,
  KVM_GET_SREGS: 0x8138ae83,
  KVM_SET_SREGS: 0x4138ae84,
  KVM_TRANSLATE: 0xc018ae85,
  KVM_GET_MSRS: 0xc008ae88,
  KVM_SET_MSRS: 0x4008ae89,
  KVM_GET_LAPIC: 0x8400ae8e,
  KVM_SET_LAPIC: 0x4400ae8f,
  KVM_SET_CPUID2: 0x4008ae90,
  KVM_GET_CPUID2: 0xc008ae91,
  KVM_GET_MP_STATE: 0x8004ae98,
  KVM_SET_MP_STATE: 0x4004ae99,
  KVM_NMI: 0xae9a,
  KVM_GET_PIT2: 0x8070ae9f,
  KVM_GET_VCPU_EVENTS: 0x8040ae9f,
  KVM_SET_PIT2: 0x4070aea0,
  KVM_SET_VCPU_EVENTS: 0x4040aea0,
  KVM_GET_DEBUGREGS: 0x8080aea1,
  KVM_SET_DEBUGREGS: 0x4080aea2,
  KVM_SET_TSC_KHZ: 0xaea2,
  KVM_GET_TSC_KHZ: 0xaea3,
  KVM_ENABLE_CAP: 0x4068aea3,
  KVM_GET_XSAVE: 0x9000aea4,
  KVM_SET_XSAVE: 0x5000aea5,
  KVM_GET_XCRS: 0x8188aea6,
  KVM_SET_XCRS: 0x4188aea7,
  KVM_KVMCLOCK_CTRL: 0xaead,
  KVM_CLEAR_DIRTY_LOG: 0xc018aec0,
  KVM_GET_SREGS2: 0x8140aecc,
  KVM_SET_SREGS2: 0x4140aecd,
  KVM_GET_STATS_FD: 0xaece,
  KVM_GET_XSAVE2: 0x9000aecf,
} as const;

export type IoctlName = keyof typeof IOCTL;

/** Capabilities by name, for KVM_CHECK_EXTENSION. */
export const CAP = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_SET_TSS_ADDR: 4,
  KVM_CAP_EXT_CPUID: 7,
  KVM_CAP_NR_VCPUS: 9,
  KVM_CAP_NR_MEMSLOTS: 10,
  KVM_CAP_MP_STATE: 14,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
  KVM_CAP_ADJUST_CLOCK: 39,
  KVM_CAP_VCPU_EVENTS: 41,
  KVM_CAP_DEBUGREGS: 50,
  KVM_CAP_XSAVE: 55,
  KVM_CAP_XCRS: 56,
  KVM_CAP_TSC_CONTROL: 60,
  KVM_CAP_GET_TSC_KHZ: 61,
  KVM_CAP_MAX_VCPUS: 66,
  KVM_CAP_TSC_DEADLINE_TIMER: 72,
  KVM_CAP_KVMCLOCK_CTRL: 76,
  KVM_CAP_READONLY_MEM: 81,
  KVM_CAP_IMMEDIATE_EXIT: 136,
  KVM_CAP_EXCEPTION_PAYLOAD: 164,
  KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: 168,
  KVM_CAP_SREGS2: 200,
  KVM_CAP_BINARY_STATS_FD: 203,
  KVM_CAP_XSAVE2: 208,
} as const;

export type CapName = keyof typeof CAP;

/** Values of `kvm_run.exit_reason`. */
export const EXIT = {
  UNKNOWN: 0,
  EXCEPTION: 1,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  SET_TPR: 11,
  TPR_ACCESS: 12,
  NMI: 16,
  INTERNAL_ERROR: 17,
  WATCHDOG: 21,
  SYSTEM_EVENT: 24,
  IOAPIC_EOI: 26,
  HYPERV: 27,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
  DIRTY_RING_FULL: 31,
  AP_RESET_HOLD: 32,
  X86_BUS_LOCK: 33,
  XEN: 34,
  NOTIFY: 37,
  MEMORY_FAULT: 39,
} as const;

const exitNames = new Map<number, string>(Object.entries(EXIT).map(([name, value]) => [value, `KVM_EXIT_${name}`]));

/** `KVM_EXIT_…`, or the number for one this table does not know. */
export function exitName(reason: number): string {
  return exitNames.get(reason) ?? `exit reason ${reason}`;
}

/** `kvm_run.io.direction`; the other is 0. */
export const KVM_EXIT_IO_OUT = 1;

/** `kvm_run.internal.suberror`. */
export const INTERNAL_ERROR_NAMES: Readonly<Record<number, string>> = {
  1: 'KVM_INTERNAL_ERROR_EMULATION',
  2: 'KVM_INTERNAL_ERROR_SIMUL_EX',
  3: 'KVM_INTERNAL_ERROR_DELIVERY_EV',
  4: 'KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON',
};

/** `kvm_run.system_event.type`. */
export const SYSTEM_EVENT = { SHUTDOWN: 1, RESET: 2, CRASH: 3 } as const;

/** `kvm_mp_state.mp_state`. */
export const MP_STATE = { RUNNABLE: 0, UNINITIALIZED: 1, INIT_RECEIVED: 2, HALTED: 3, SIPI_RECEIVED: 4 } as const;

/** `kvm_userspace_memory_region.flags`. */
export const KVM_MEM_LOG_DIRTY_PAGES = 1;
export const KVM_MEM_READONLY = 2;

/** Arguments of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2. */
export const KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE = 1;
export const KVM_DIRTY_LOG_INITIALLY_SET = 2;

export const KVM_PIT_SPEAKER_DUMMY = 1;

/** `kvm_irqchip.chip_id`. */
export const IRQCHIP = { PIC_MASTER: 0, PIC_SLAVE: 1, IOAPIC: 2 } as const;

/** Byte offsets inside `struct kvm_run`. */
export const RUN = {
  immediate_exit: 1,
  exit_reason: 8,
  io_direction: 32,
  io_size: 33,
  io_port: 34,
  io_count: 36,
  io_data_offset: 40,
  mmio_phys_addr: 32,
  mmio_data: 40,
  mmio_len: 48,
  mmio_is_write: 52,
  internal_suberror: 32,
  internal_ndata: 36,
  internal_data: 40,
  fail_entry_reason: 32,
  system_event_type: 32,
  hw_exit_reason: 32,
} as const;

/** MSRs this project handles by name. Source: arch/x86/include/asm/msr-index.h. */
export const MSR = { IA32_TSC: 0x10, IA32_TSC_DEADLINE: 0x6e0, KERNEL_GS_BASE: 0xc0000102 } as const;
