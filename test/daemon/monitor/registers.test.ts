/** Register names and `info registers`. The texts were recorded from QEMU 7.2.22, of its firmware and of the built-in guest. */
import t from 'tap';
import { registersText, registerValue } from '../../../daemon/monitor/registers.js';
import type { KvmSegment } from '../../../kvm/structs.js';
import type { VcpuRegisters } from '../../../kvm/vcpu.js';

/** A segment by its selector, base, limit and the second word of its descriptor. */
function segment(selector: number, base: bigint, limit: number, flags: number): KvmSegment {
  const bit = (n: number) => (flags >> n) & 1;
  return {
    selector,
    base,
    limit,
    type: (flags >> 8) & 15,
    s: bit(12),
    dpl: (flags >> 13) & 3,
    present: bit(15),
    avl: bit(20),
    l: bit(21),
    db: bit(22),
    g: bit(23),
    unusable: 0,
  };
}

const NO_GENERAL = Object.fromEntries(
  'rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags'.split(' ').map((name) => [name, 0n]),
) as unknown as VcpuRegisters['regs'];

/** FXSAVE of a CPU that computed nothing yet. */
function fxsave(change: (view: DataView) => void = () => undefined): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x37f, true);
  view.setUint32(24, 0x1f80, true);
  change(view);
  return bytes;
}

const COMMON = {
  debugregs: { db: [0n, 0n, 0n, 0n], dr6: 0xffff0ff0n, dr7: 0x400n, flags: 0n },
  fxsave: fxsave(),
  events: { interrupt: { injected: 0, nr: 0, soft: 0, shadow: 0 }, smi: { smm: 0 } } as VcpuRegisters['events'],
  mp_state: 0,
  kernel_gs_base: 0n,
};

const FLAT = segment(0x10, 0n, 0xffffffff, 0xc09300);
const FIRMWARE: VcpuRegisters = {
  ...COMMON,
  regs: {
    ...NO_GENERAL,
    rax: 0xc0000n,
    rbx: 0x2feb320n,
    rcx: 0x27104n,
    rsi: 0x2ffeca9n,
    rdi: 0x2ffff60n,
    rbp: 0x14c40n,
    rsp: 0x6e14n,
    rip: 0xea661n,
    rflags: 2n,
  },
  sregs: {
    es: FLAT,
    cs: segment(8, 0n, 0xffffffff, 0xc09b00),
    ss: FLAT,
    ds: FLAT,
    fs: FLAT,
    gs: FLAT,
    ldt: segment(0, 0n, 0xffff, 0x8200),
    tr: segment(0, 0n, 0xffff, 0x8b00),
    gdt: { base: 0xf6180n, limit: 0x37 },
    idt: { base: 0xf61ben, limit: 0 },
    cr0: 0x11n,
    cr2: 0n,
    cr3: 0n,
    cr4: 0n,
    cr8: 0n,
    efer: 0n,
    apic_base: 0n,
    interrupt_bitmap: [],
  },
};

const NONE = segment(0, 0n, 0, 0);
const GUEST: VcpuRegisters = {
  ...COMMON,
  mp_state: 3,
  regs: {
    ...NO_GENERAL,
    rax: 0x1212n,
    rbx: 0x2cd5b4daan,
    rsp: 0x1153a8n,
    r9: 0x120090n,
    r15: 0x127b00n,
    rip: 0x1002a7n,
    rflags: 0x297n,
  },
  sregs: {
    ...FIRMWARE.sregs,
    cs: segment(8, 0n, 0xffffffff, 0xa09b00),
    ss: NONE,
    fs: NONE,
    gs: NONE,
    tr: segment(0x28, 0x114300n, 0x67, 0x8b00),
    gdt: { base: 0x110000n, limit: 0x37 },
    idt: { base: 0x114000n, limit: 0x2ff },
    cr0: 0x80000031n,
    cr3: 0x111000n,
    cr4: 0x20n,
    efer: 0x500n,
  },
};

const zeros = (names: string[]) => names.map((name) => `${name}=0000000000000000 0000000000000000`);
const xmmLines = (count: number) => {
  const names = Array.from({ length: count }, (_, i) => `XMM${String(i).padStart(2, '0')}`);
  return Array.from({ length: count / 2 }, (_, i) => `${zeros(names.slice(2 * i, 2 * i + 2)).join(' ')}\n`).join('');
};
const FPU = `FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80
FPR0=0000000000000000 0000 FPR1=0000000000000000 0000
FPR2=0000000000000000 0000 FPR3=0000000000000000 0000
FPR4=0000000000000000 0000 FPR5=0000000000000000 0000
FPR6=0000000000000000 0000 FPR7=0000000000000000 0000
`;
const DEBUG = `DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 ${'\n'}DR6=00000000ffff0ff0 DR7=0000000000000400
`;

t.test('protected mode is shown in 32 bits', async (t) => {
  t.equal(
    registersText(FIRMWARE),
    `EAX=000c0000 EBX=02feb320 ECX=00027104 EDX=00000000
ESI=02ffeca9 EDI=02ffff60 EBP=00014c40 ESP=00006e14
EIP=000ea661 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]
CS =0008 00000000 ffffffff 00c09b00 DPL=0 CS32 [-RA]
SS =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]
DS =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]
FS =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]
GS =0010 00000000 ffffffff 00c09300 DPL=0 DS   [-WA]
LDT=0000 00000000 0000ffff 00008200 DPL=0 LDT
TR =0000 00000000 0000ffff 00008b00 DPL=0 TSS32-busy
GDT=     000f6180 00000037
IDT=     000f61be 00000000
CR0=00000011 CR2=00000000 CR3=00000000 CR4=00000000
${DEBUG}EFER=0000000000000000
${FPU}${xmmLines(8)}`,
  );
});

t.test('real mode shows no kinds of segments', async (t) => {
  const real = segment(0xf000, 0xffff0000n, 0xffff, 0x9b00);
  const text = registersText({ ...FIRMWARE, sregs: { ...FIRMWARE.sregs, cs: real, cr0: 0x60000010n } });
  t.match(text, /^CS =f000 ffff0000 0000ffff 00009b00$/m);
  t.match(text, /^TR =0000 00000000 0000ffff 00008b00$/m);
});

t.test('64-bit code is shown in 64 bits, with all registers there are then', async (t) => {
  t.equal(
    registersText(GUEST),
    `RAX=0000000000001212 RBX=00000002cd5b4daa RCX=0000000000000000 RDX=0000000000000000
RSI=0000000000000000 RDI=0000000000000000 RBP=0000000000000000 RSP=00000000001153a8
R8 =0000000000000000 R9 =0000000000120090 R10=0000000000000000 R11=0000000000000000
R12=0000000000000000 R13=0000000000000000 R14=0000000000000000 R15=0000000000127b00
RIP=00000000001002a7 RFL=00000297 [--S-APC] CPL=0 II=0 A20=1 SMM=0 HLT=1
ES =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]
CS =0008 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]
SS =0000 0000000000000000 00000000 00000000
DS =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]
FS =0000 0000000000000000 00000000 00000000
GS =0000 0000000000000000 00000000 00000000
LDT=0000 0000000000000000 0000ffff 00008200 DPL=0 LDT
TR =0028 0000000000114300 00000067 00008b00 DPL=0 TSS64-busy
GDT=     0000000000110000 00000037
IDT=     0000000000114000 000002ff
CR0=80000031 CR2=0000000000000000 CR3=0000000000111000 CR4=00000020
${DEBUG}EFER=0000000000000500
${FPU}${xmmLines(16)}`,
  );
});

t.test('x87 and SSE registers are where FXSAVE has them', async (t) => {
  const text = registersText({
    ...FIRMWARE,
    fxsave: fxsave((view) => {
      view.setUint16(2, 0x3800, true);
      view.setUint8(4, 0x81);
      view.setBigUint64(32 + 16, 0x8000000000000000n, true);
      view.setUint16(40 + 16, 0x3fff, true);
      view.setBigUint64(160 + 16 * 3, 1n, true);
      view.setBigUint64(168 + 16 * 3, 2n, true);
    }),
  });
  t.match(text, 'FCW=037f FSW=3800 [ST=7] FTW=81 MXCSR=00001f80\n');
  t.match(text, ' FPR1=8000000000000000 3fff\n');
  t.match(text, ' XMM03=0000000000000002 0000000000000001\n');
});

t.test('registers have the names of the monitor of QEMU, in every mode', async (t) => {
  const values: Record<string, bigint | undefined> = {
    eip: 0x1002a7n,
    pc: 0x1002a7n,
    eax: 0x1212n,
    sp: 0x1153a8n,
    esp: 0x1153a8n,
    fp: 0n,
    r15: 0x127b00n,
    eflags: 0x297n,
    cs: 8n,
    'cs.base': 0n,
    'cs.limit': -1n,
    'cs.sel': undefined,
    'cs.base.base': undefined,
    rip: undefined,
    rax: undefined,
    cr0: undefined,
    toString: undefined,
    '': undefined,
  };
  for (const [name, value] of Object.entries(values)) t.equal(registerValue(GUEST, name), value, name);
  t.equal(
    registerValue({ ...GUEST, sregs: { ...GUEST.sregs, cs: segment(0xf000, 0xffff0000n, 0xffff, 0x9b00) } }, 'pc'),
    0x1002a7n + 0xffff0000n,
  );
});
