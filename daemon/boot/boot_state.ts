import { GDT_ADDRESS } from './memory_map.js';

/** Names of `struct kvm_regs` (arch/x86/include/uapi/asm/kvm.h). */
export type RegName =
  | 'rax'
  | 'rbx'
  | 'rcx'
  | 'rdx'
  | 'rsi'
  | 'rdi'
  | 'rsp'
  | 'rbp'
  | 'r8'
  | 'r9'
  | 'r10'
  | 'r11'
  | 'r12'
  | 'r13'
  | 'r14'
  | 'r15'
  | 'rip'
  | 'rflags';

/** `struct kvm_segment`: the limit is in bytes (already scaled by `g`). */
export interface SegmentState {
  readonly base: bigint;
  readonly limit: number;
  readonly selector: number;
  readonly type: number;
  readonly present: number;
  readonly dpl: number;
  readonly db: number;
  readonly s: number;
  readonly l: number;
  readonly g: number;
  readonly avl: number;
  readonly unusable: number;
}

/** `struct kvm_dtable`. */
export interface TableState {
  readonly base: bigint;
  readonly limit: number;
}

/** The members of `struct kvm_sregs` that a kernel's entry point depends on. */
export interface SregsPatch {
  readonly cs: SegmentState;
  readonly ds: SegmentState;
  readonly es: SegmentState;
  readonly fs: SegmentState;
  readonly gs: SegmentState;
  readonly ss: SegmentState;
  readonly tr: SegmentState;
  readonly ldt: SegmentState;
  readonly gdt: TableState;
  readonly idt: TableState;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
}

/** What the first vCPU starts with. Registers that are not named are zero. */
export interface BootState {
  readonly format: 'pvh' | 'bzimage';
  readonly regs: Readonly<Partial<Record<RegName, bigint>>>;
  readonly sregs: SregsPatch;
}

// Selectors as the Linux boot protocols name them: __BOOT_CS, __BOOT_DS, __BOOT_TSS (arch/x86/include/asm/segment.h).
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
const BOOT_TSS = 0x20;

// Descriptors (Intel SDM vol. 3 §3.4.5, AMD64 APM vol. 2 §4.7): flat 4 GiB, accessed, so that nothing writes them back.
const CODE64_DESCRIPTOR = 0x00af9b000000ffffn;
const CODE32_DESCRIPTOR = 0x00cf9b000000ffffn;
const DATA_DESCRIPTOR = 0x00cf93000000ffffn;
const BUSY_TSS_DESCRIPTOR = 0x00008b0000000067n;

const FLAT = { base: 0n, limit: 0xffff_ffff, present: 1, dpl: 0, s: 1, g: 1, avl: 0, unusable: 0 };
const DATA: SegmentState = { ...FLAT, selector: BOOT_DS, type: 3, db: 1, l: 0 };
const CODE32: SegmentState = { ...FLAT, selector: BOOT_CS, type: 0xb, db: 1, l: 0 };
const CODE64: SegmentState = { ...FLAT, selector: BOOT_CS, type: 0xb, db: 0, l: 1 };
// A busy TSS: VM entry refuses anything else in TR (Intel SDM vol. 3 §26.3.1.2).
const TSS: SegmentState = {
  base: 0n,
  limit: 0x67,
  selector: BOOT_TSS,
  type: 0xb,
  present: 1,
  dpl: 0,
  db: 0,
  s: 0,
  l: 0,
  g: 0,
  avl: 0,
  unusable: 0,
};
const NO_LDT: SegmentState = { ...TSS, limit: 0, selector: 0, type: 2, present: 0, unusable: 1 };

const CR0_PE = 1n << 0n;
const CR0_ET = 1n << 4n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
/** Bit 1 of rflags always reads as one; interrupts are off. */
export const RFLAGS_INITIAL = 0x2n;

/** Entries of the boot GDT; the last is the upper half of a 64-bit TSS descriptor. */
const GDT_ENTRIES = 6;
export const GDT_BYTES = GDT_ENTRIES * 8;

/** The bytes of the GDT that agrees with the segment registers below. */
export function bootGdt(mode: 32 | 64): Uint8Array {
  const bytes = new Uint8Array(GDT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(BOOT_CS, mode === 64 ? CODE64_DESCRIPTOR : CODE32_DESCRIPTOR, true);
  view.setBigUint64(BOOT_DS, DATA_DESCRIPTOR, true);
  view.setBigUint64(BOOT_TSS, BUSY_TSS_DESCRIPTOR, true);
  return bytes;
}

function sregs(cs: SegmentState): SregsPatch {
  return {
    cs,
    ds: DATA,
    es: DATA,
    fs: DATA,
    gs: DATA,
    ss: DATA,
    tr: TSS,
    ldt: NO_LDT,
    gdt: { base: BigInt(GDT_ADDRESS), limit: GDT_BYTES - 1 },
    idt: { base: 0n, limit: 0 },
    cr0: CR0_PE | CR0_ET,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
  };
}

/** Flat 32-bit protected mode without paging (Xen, docs/misc/pvh.pandoc). */
export function protectedModeSregs(): SregsPatch {
  return sregs(CODE32);
}

/** Flat 64-bit mode with the page tables at `cr3` (Documentation/arch/x86/boot.rst, 64-bit boot protocol). */
export function longModeSregs(cr3: number): SregsPatch {
  return {
    ...sregs(CODE64),
    cr0: CR0_PE | CR0_ET | CR0_PG,
    cr3: BigInt(cr3),
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
  };
}

const PTE_PRESENT_WRITABLE = 0x3n;
const PDE_LARGE = 0x80n;
const PAGE = 0x1000;
const LARGE_PAGE = 0x200000n;

/** Page tables for the address they will be at: 4 GiB mapped to themselves in 2 MiB pages. Six pages of bytes. */
export function identityPageTables(address: number): Uint8Array {
  const bytes = new Uint8Array(6 * PAGE);
  const view = new DataView(bytes.buffer);
  const pdpt = BigInt(address + PAGE);
  view.setBigUint64(0, pdpt | PTE_PRESENT_WRITABLE, true);
  for (let gib = 0; gib < 4; gib++) {
    const directory = BigInt(address + (2 + gib) * PAGE);
    view.setBigUint64(PAGE + gib * 8, directory | PTE_PRESENT_WRITABLE, true);
  }
  for (let i = 0; i < 4 * 512; i++) {
    view.setBigUint64(2 * PAGE + i * 8, (BigInt(i) * LARGE_PAGE) | PTE_PRESENT_WRITABLE | PDE_LARGE, true);
  }
  return bytes;
}
