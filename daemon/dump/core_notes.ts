/** The notes of a core that tell the vCPUs' registers: NT_PRSTATUS of each, then QEMU's own of each. See target/i386/arch_dump.c. */
import type { KvmDtable, KvmSegment } from '../../kvm/structs.js';
import type { VcpuRegisters } from '../../kvm/vcpu.js';

const NT_PRSTATUS = 1;
const QEMU_NOTE = 0;
const QEMU_CPU_STATE_VERSION = 1;
const EFER_LMA = 1n << 10n;

/** In 64-bit mode or its compatibility mode: decides what the whole core is. */
export function isLongMode({ sregs }: VcpuRegisters): boolean {
  return (sregs.efer & EFER_LMA) !== 0n;
}

export function coreNotes(vcpus: readonly VcpuRegisters[]): Uint8Array {
  const [first] = vcpus;
  const prstatus = first && isLongMode(first) ? prstatus64 : prstatus32;
  return Buffer.concat([
    ...vcpus.map((vcpu, i) => note('CORE', NT_PRSTATUS, prstatus(vcpu, i + 1))),
    ...vcpus.map((vcpu) => note('QEMU', QEMU_NOTE, qemuCpuState(vcpu))),
  ]);
}

function note(name: string, type: number, desc: Buffer): Buffer {
  const head = Buffer.alloc(20); // Elf64_Nhdr, and a name of five bytes
  head.writeUInt32LE(name.length + 1, 0);
  head.writeUInt32LE(desc.length, 4);
  head.writeUInt32LE(type, 8);
  head.write(name, 12, 'latin1');
  return Buffer.concat([head, desc]);
}

/** `struct elf_prstatus` of x86-64: the pid at 32, `struct user_regs_struct` at 112. */
function prstatus64({ regs, sregs }: VcpuRegisters, pid: number): Buffer {
  const { cs, ss, ds, es, fs, gs } = sregs;
  const words = [
    ...[regs.r15, regs.r14, regs.r13, regs.r12, regs.rbp, regs.rbx, regs.r11, regs.r10],
    ...[regs.r9, regs.r8, regs.rax, regs.rcx, regs.rdx, regs.rsi, regs.rdi, 0n],
    ...[regs.rip, BigInt(cs.selector), regs.rflags, regs.rsp, BigInt(ss.selector), fs.base, gs.base],
    ...[ds, es, fs, gs].map(({ selector }) => BigInt(selector)),
  ];
  const out = Buffer.alloc(336);
  out.writeUInt32LE(pid, 32);
  for (const [i, word] of words.entries()) out.writeBigUInt64LE(word, 112 + 8 * i);
  return out;
}

/** `struct elf_prstatus` of i386: the pid at 24, `struct user_regs_struct` at 72. */
function prstatus32({ regs, sregs }: VcpuRegisters, pid: number): Buffer {
  const { cs, ss, ds, es, fs, gs } = sregs;
  const low = (value: bigint) => Number(BigInt.asUintN(32, value));
  const words = [
    ...[regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.rax].map(low),
    ...[ds, es, fs, gs].map(({ selector }) => selector),
    ...[0, low(regs.rip), cs.selector, low(regs.rflags), low(regs.rsp), ss.selector],
  ];
  const out = Buffer.alloc(144);
  out.writeUInt32LE(pid, 24);
  for (const [i, word] of words.entries()) out.writeUInt32LE(word, 72 + 4 * i);
  return out;
}

/** `QEMUCPUState`: general registers, segments, control registers and the kernel's GS base. */
function qemuCpuState({ regs, sregs, kernel_gs_base }: VcpuRegisters): Buffer {
  const out = Buffer.alloc(440);
  out.writeUInt32LE(QEMU_CPU_STATE_VERSION, 0);
  out.writeUInt32LE(out.length, 4);
  const general = [
    ...[regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rsp, regs.rbp],
    ...[regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15, regs.rip, regs.rflags],
  ];
  for (const [i, word] of general.entries()) out.writeBigUInt64LE(word, 8 + 8 * i);
  const { cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt } = sregs;
  const segments = [...[cs, ds, es, fs, gs, ss, ldt, tr].map(segmentWords), ...[gdt, idt].map(tableWords)];
  for (const [i, { selector, limit, flags, base }] of segments.entries()) {
    const at = 152 + 24 * i;
    out.writeUInt32LE(selector, at);
    out.writeUInt32LE(limit, at + 4);
    out.writeUInt32LE(flags, at + 8);
    out.writeBigUInt64LE(base, at + 16);
  }
  for (const [i, word] of [sregs.cr0, 0n, sregs.cr2, sregs.cr3, sregs.cr4].entries()) {
    out.writeBigUInt64LE(word, 392 + 8 * i);
  }
  out.writeBigUInt64LE(kernel_gs_base, 432);
  return out;
}

interface SegmentWords {
  readonly selector: number;
  readonly limit: number;
  readonly flags: number;
  readonly base: bigint;
}

/** Flags are the descriptor's second word without its address bits. */
function segmentWords(segment: KvmSegment): SegmentWords {
  const { selector, limit, base, type, s, dpl, present, unusable, avl, l, db, g } = segment;
  const p = present && !unusable ? 1 : 0;
  const flags = (type << 8) | (s << 12) | (dpl << 13) | (p << 15) | (avl << 20) | (l << 21) | (db << 22) | (g << 23);
  return { selector, limit, flags, base };
}

function tableWords({ limit, base }: KvmDtable): SegmentWords {
  return { selector: 0, limit, flags: 0, base };
}
