/** Registers as the monitor names and shows them: those of QEMU's target/i386/monitor.c and target/i386/cpu-dump.c. */
import type { KvmSegment, KvmSregs } from '../../kvm/structs.js';
import type { VcpuRegisters } from '../../kvm/vcpu.js';

/** QEMU's names of the general registers, whatever the guest's mode. */
const GENERAL: Readonly<Record<string, keyof VcpuRegisters['regs']>> = {
  eax: 'rax',
  ebx: 'rbx',
  ecx: 'rcx',
  edx: 'rdx',
  esi: 'rsi',
  edi: 'rdi',
  ebp: 'rbp',
  fp: 'rbp',
  esp: 'rsp',
  sp: 'rsp',
  r8: 'r8',
  r9: 'r9',
  r10: 'r10',
  r11: 'r11',
  r12: 'r12',
  r13: 'r13',
  r14: 'r14',
  r15: 'r15',
  eip: 'rip',
  eflags: 'rflags',
};

const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

/** The value of `$name`; undefined where there is no register of that name. */
export function registerValue({ regs, sregs }: VcpuRegisters, name: string): bigint | undefined {
  if (name === 'pc') return regs.rip + sregs.cs.base;
  if (Object.hasOwn(GENERAL, name)) return regs[GENERAL[name] as keyof typeof regs];
  const [segmentName, part, ...more] = name.split('.');
  const segment = SEGMENTS.find((known) => known === segmentName);
  if (!segment || more.length > 0) return undefined;
  const { selector, base, limit } = sregs[segment];
  if (part === undefined) return BigInt(selector);
  if (part === 'base') return base;
  return part === 'limit' ? BigInt.asIntN(32, BigInt(limit)) : undefined; // as QEMU reads it
}

const EFER_LMA = 1n << 10n;
const CR0_PE = 1n;
const KVM_MP_STATE_HALTED = 3;

const hex = (value: number | bigint, digits: number) =>
  BigInt.asUintN(digits * 4, BigInt(value))
    .toString(16)
    .padStart(digits, '0');

/** All registers of one CPU, as `info registers` shows them. */
export function registersText(registers: VcpuRegisters): string {
  const { regs, sregs, debugregs, events, mp_state } = registers;
  const lma = (sregs.efer & EFER_LMA) !== 0n;
  const wide = lma && sregs.cs.l === 1; // 64-bit code runs
  const digits = wide ? 16 : 8;
  const tableDigits = lma ? 16 : 8;
  const prefix = wide ? 'R' : 'E';
  const general = (names: string) =>
    names
      .split(' ')
      .map((name) => `${prefix}${name}=${hex(regs[`r${name.toLowerCase()}` as keyof typeof regs], digits)}`)
      .join(' ');
  const numbered = (first: number) =>
    [0, 1, 2, 3]
      .map((i) => `${`R${first + i}`.padEnd(3)}=${hex(regs[`r${first + i}` as keyof typeof regs], 16)}`)
      .join(' ');
  const state = `CPL=${sregs.ss.dpl} II=${events.interrupt.shadow ? 1 : 0} A20=1 SMM=${events.smi.smm} HLT=${mp_state === KVM_MP_STATE_HALTED ? 1 : 0}`;
  const table = (name: string, { base, limit }: KvmSregs['gdt']) =>
    `${name}=     ${hex(base, tableDigits)} ${hex(limit, 8)}`;
  return `${[
    general('AX BX CX DX'),
    general('SI DI BP SP'),
    ...(wide ? [numbered(8), numbered(12)] : []),
    `${general('IP')} ${prefix}FL=${hex(regs.rflags, 8)} [${flagLetters(regs.rflags)}] ${state}`,
    ...SEGMENTS.map((name) => segmentLine(name.toUpperCase(), sregs[name], sregs, wide)),
    segmentLine('LDT', sregs.ldt, sregs, wide),
    segmentLine('TR', sregs.tr, sregs, wide),
    table('GDT', sregs.gdt),
    table('IDT', sregs.idt),
    `CR0=${hex(sregs.cr0, 8)} CR2=${hex(sregs.cr2, tableDigits)} CR3=${hex(sregs.cr3, tableDigits)} CR4=${hex(sregs.cr4, 8)}`,
    debugregs.db.map((value, i) => `DR${i}=${hex(value, 16)} `).join(''),
    `DR6=${hex(debugregs.dr6, 16)} DR7=${hex(debugregs.dr7, 16)}`,
    `EFER=${hex(sregs.efer, 16)}`,
    ...floatingPointLines(registers.fxsave, wide ? 16 : 8),
  ].join('\n')}\n`;
}

function flagLetters(rflags: bigint): string {
  const letters: ReadonlyArray<readonly [string, bigint]> = [
    ['D', 10n],
    ['O', 11n],
    ['S', 7n],
    ['Z', 6n],
    ['A', 4n],
    ['P', 2n],
    ['C', 0n],
  ];
  return letters.map(([letter, bit]) => ((rflags >> bit) & 1n ? letter : '-')).join('');
}

/** Descriptor types that are not of code or data, outside and in long mode; both by number. */
const SYSTEM_TYPES = {
  legacy:
    'Reserved TSS16-avl LDT TSS16-busy CallGate16 TaskGate IntGate16 TrapGate16 ' +
    'Reserved TSS32-avl Reserved TSS32-busy CallGate32 Reserved IntGate32 TrapGate32',
  long:
    '<hiword> Reserved LDT Reserved Reserved Reserved Reserved Reserved ' +
    'Reserved TSS64-avl Reserved TSS64-busy CallGate64 Reserved IntGate64 TrapGate64',
};

function segmentLine(name: string, segment: KvmSegment, { cr0, efer }: KvmSregs, wide: boolean): string {
  const { type, s, dpl, avl, l, db, g } = segment;
  const present = segment.present && !segment.unusable ? 1 : 0;
  const flags =
    (type << 8) | (s << 12) | (dpl << 13) | (present << 15) | (avl << 20) | (l << 21) | (db << 22) | (g << 23);
  const line = `${name.padEnd(3)}=${hex(segment.selector, 4)} ${hex(segment.base, wide ? 16 : 8)} ${hex(segment.limit, 8)} ${hex(flags, 8)}`;
  if ((cr0 & CR0_PE) === 0n || !present) return line;
  const lma = (efer & EFER_LMA) !== 0n;
  return `${line} DPL=${dpl} ${s ? memorySegment(segment, lma) : SYSTEM_TYPES[lma ? 'long' : 'legacy'].split(' ')[type]}`;
}

/** Kind and rights of a segment of code or data. */
function memorySegment({ type, l, db }: KvmSegment, lma: boolean): string {
  const bit = (mask: number, letter: string) => (type & mask ? letter : '-');
  const accessed = bit(1, 'A');
  if (type & 8) return `${l ? 'CS64' : db ? 'CS32' : 'CS16'} [${bit(4, 'C')}${bit(2, 'R')}${accessed}]`;
  return `${db || lma ? 'DS  ' : 'DS16'} [${bit(4, 'E')}${bit(2, 'W')}${accessed}]`;
}

/** x87 and SSE. @param fxsave as FXSAVE lays them out: Intel SDM vol. 1, table 10-2 */
function floatingPointLines(fxsave: Uint8Array, xmmCount: number): string[] {
  const view = new DataView(fxsave.buffer, fxsave.byteOffset, fxsave.byteLength);
  const quad = (at: number) => hex(view.getBigUint64(at, true), 16);
  const status = view.getUint16(2, true);
  const fpr = (i: number) => `FPR${i}=${quad(32 + i * 16)} ${hex(view.getUint16(40 + i * 16, true), 4)}`;
  const xmm = (i: number) => `XMM${String(i).padStart(2, '0')}=${quad(168 + i * 16)} ${quad(160 + i * 16)}`;
  const pairs = (count: number, one: (i: number) => string) =>
    Array.from({ length: count / 2 }, (_, i) => `${one(2 * i)} ${one(2 * i + 1)}`);
  return [
    `FCW=${hex(view.getUint16(0, true), 4)} FSW=${hex(status, 4)} [ST=${(status >> 11) & 7}] ` +
      `FTW=${hex(view.getUint8(4), 2)} MXCSR=${hex(view.getUint32(24, true), 8)}`,
    ...pairs(8, fpr),
    ...pairs(xmmCount, xmm),
  ];
}
