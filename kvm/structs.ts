/** Structs of the KVM API that hold machine state. Source: arch/x86/include/uapi/asm/kvm.h, include/uapi/linux/kvm.h. */
import { type Struct, struct } from './layout.js';

export interface KvmSegment {
  base: bigint;
  limit: number;
  selector: number;
  type: number;
  present: number;
  dpl: number;
  db: number;
  s: number;
  l: number;
  g: number;
  avl: number;
  unusable: number;
}
export const kvmSegment: Struct<KvmSegment> = struct('kvm_segment', {
  base: 'u64',
  limit: 'u32',
  selector: 'u16',
  type: 'u8',
  present: 'u8',
  dpl: 'u8',
  db: 'u8',
  s: 'u8',
  l: 'u8',
  g: 'u8',
  avl: 'u8',
  unusable: 'u8',
  padding: 'u8',
});

export interface KvmDtable {
  base: bigint;
  limit: number;
}
export const kvmDtable: Struct<KvmDtable> = struct('kvm_dtable', {
  base: 'u64',
  limit: 'u16',
  padding: { array: 'u16', length: 3 },
});

/** General registers by name, as in `struct kvm_regs`. */
export const REG_NAMES = [
  'rax',
  'rbx',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'rsp',
  'rbp',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rip',
  'rflags',
] as const;
export type KvmRegs = Record<(typeof REG_NAMES)[number], bigint>;
export const kvmRegs: Struct<KvmRegs> = struct('kvm_regs', Object.fromEntries(REG_NAMES.map((name) => [name, 'u64'])));

export interface KvmSregs {
  cs: KvmSegment;
  ds: KvmSegment;
  es: KvmSegment;
  fs: KvmSegment;
  gs: KvmSegment;
  ss: KvmSegment;
  tr: KvmSegment;
  ldt: KvmSegment;
  gdt: KvmDtable;
  idt: KvmDtable;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  cr8: bigint;
  efer: bigint;
  apic_base: bigint;
  interrupt_bitmap: bigint[];
}
const sregsHead = {
  cs: kvmSegment,
  ds: kvmSegment,
  es: kvmSegment,
  fs: kvmSegment,
  gs: kvmSegment,
  ss: kvmSegment,
  tr: kvmSegment,
  ldt: kvmSegment,
  gdt: kvmDtable,
  idt: kvmDtable,
  cr0: 'u64',
  cr2: 'u64',
  cr3: 'u64',
  cr4: 'u64',
  cr8: 'u64',
  efer: 'u64',
  apic_base: 'u64',
} as const;
export const kvmSregs: Struct<KvmSregs> = struct('kvm_sregs', {
  ...sregsHead,
  interrupt_bitmap: { array: 'u64', length: 4 },
});

/** `kvm_sregs2`: as `kvm_sregs`, with the PDPTRs in place of the interrupt bitmap. */
export interface KvmSregs2 extends Omit<KvmSregs, 'interrupt_bitmap'> {
  flags: bigint;
  pdptrs: bigint[];
}
export const kvmSregs2: Struct<KvmSregs2> = struct('kvm_sregs2', {
  ...sregsHead,
  flags: 'u64',
  pdptrs: { array: 'u64', length: 4 },
});

export interface KvmVcpuEvents {
  exception: { injected: number; nr: number; has_error_code: number; pending: number; error_code: number };
  interrupt: { injected: number; nr: number; soft: number; shadow: number };
  nmi: { injected: number; pending: number; masked: number };
  sipi_vector: number;
  flags: number;
  smi: { smm: number; pending: number; smm_inside_nmi: number; latched_init: number };
  triple_fault: { pending: number };
  exception_has_payload: number;
  exception_payload: bigint;
}
export const kvmVcpuEvents: Struct<KvmVcpuEvents> = struct('kvm_vcpu_events', {
  exception: struct('exception', {
    injected: 'u8',
    nr: 'u8',
    has_error_code: 'u8',
    pending: 'u8',
    error_code: 'u32',
  }),
  interrupt: struct('interrupt', { injected: 'u8', nr: 'u8', soft: 'u8', shadow: 'u8' }),
  nmi: struct('nmi', { injected: 'u8', pending: 'u8', masked: 'u8', pad: 'u8' }),
  sipi_vector: 'u32',
  flags: 'u32',
  smi: struct('smi', { smm: 'u8', pending: 'u8', smm_inside_nmi: 'u8', latched_init: 'u8' }),
  triple_fault: struct('triple_fault', { pending: 'u8' }),
  reserved: { bytes: 26 },
  exception_has_payload: 'u8',
  exception_payload: 'u64',
});

export interface KvmDebugregs {
  db: bigint[];
  dr6: bigint;
  dr7: bigint;
  flags: bigint;
}
export const kvmDebugregs: Struct<KvmDebugregs> = struct('kvm_debugregs', {
  db: { array: 'u64', length: 4 },
  dr6: 'u64',
  dr7: 'u64',
  flags: 'u64',
  reserved: { array: 'u64', length: 9 },
});

export interface KvmXcrs {
  nr_xcrs: number;
  flags: number;
  xcrs: { xcr: number; value: bigint }[];
}
export const kvmXcrs: Struct<KvmXcrs> = struct('kvm_xcrs', {
  nr_xcrs: 'u32',
  flags: 'u32',
  xcrs: { array: struct('kvm_xcr', { xcr: 'u32', reserved: 'u32', value: 'u64' }), length: 16 },
  padding: { array: 'u64', length: 16 },
});

export interface KvmTranslation {
  linear_address: bigint;
  physical_address: bigint;
  valid: number;
  writeable: number;
  usermode: number;
}
export const kvmTranslation: Struct<KvmTranslation> = struct('kvm_translation', {
  linear_address: 'u64',
  physical_address: 'u64',
  valid: 'u8',
  writeable: 'u8',
  usermode: 'u8',
  pad: { bytes: 5 },
});

export interface KvmCpuidEntry {
  function: number;
  index: number;
  flags: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}
export const kvmCpuidEntry: Struct<KvmCpuidEntry> = struct('kvm_cpuid_entry2', {
  function: 'u32',
  index: 'u32',
  flags: 'u32',
  eax: 'u32',
  ebx: 'u32',
  ecx: 'u32',
  edx: 'u32',
  padding: { array: 'u32', length: 3 },
});

export interface KvmPicState {
  last_irr: number;
  irr: number;
  imr: number;
  isr: number;
  priority_add: number;
  irq_base: number;
  read_reg_select: number;
  poll: number;
  special_mask: number;
  init_state: number;
  auto_eoi: number;
  rotate_on_auto_eoi: number;
  special_fully_nested_mode: number;
  init4: number;
  elcr: number;
  elcr_mask: number;
}
export const kvmPicState: Struct<KvmPicState> = struct('kvm_pic_state', {
  last_irr: 'u8',
  irr: 'u8',
  imr: 'u8',
  isr: 'u8',
  priority_add: 'u8',
  irq_base: 'u8',
  read_reg_select: 'u8',
  poll: 'u8',
  special_mask: 'u8',
  init_state: 'u8',
  auto_eoi: 'u8',
  rotate_on_auto_eoi: 'u8',
  special_fully_nested_mode: 'u8',
  init4: 'u8',
  elcr: 'u8',
  elcr_mask: 'u8',
});

export interface KvmIoapicState {
  base_address: bigint;
  ioregsel: number;
  id: number;
  irr: number;
  redirtbl: bigint[];
}
export const kvmIoapicState: Struct<KvmIoapicState> = struct('kvm_ioapic_state', {
  base_address: 'u64',
  ioregsel: 'u32',
  id: 'u32',
  irr: 'u32',
  pad: 'u32',
  redirtbl: { array: 'u64', length: 24 },
});

export interface KvmPitChannel {
  count: number;
  latched_count: number;
  count_latched: number;
  status_latched: number;
  status: number;
  read_state: number;
  write_state: number;
  write_latch: number;
  rw_mode: number;
  mode: number;
  bcd: number;
  gate: number;
  count_load_time: bigint;
}
export interface KvmPitState2 {
  channels: KvmPitChannel[];
  flags: number;
}
export const kvmPitState2: Struct<KvmPitState2> = struct('kvm_pit_state2', {
  channels: {
    array: struct('kvm_pit_channel_state', {
      count: 'u32',
      latched_count: 'u16',
      count_latched: 'u8',
      status_latched: 'u8',
      status: 'u8',
      read_state: 'u8',
      write_state: 'u8',
      write_latch: 'u8',
      rw_mode: 'u8',
      mode: 'u8',
      bcd: 'u8',
      gate: 'u8',
      count_load_time: 's64',
    }),
    length: 3,
  },
  flags: 'u32',
  reserved: { array: 'u32', length: 9 },
});
