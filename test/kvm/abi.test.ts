import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import * as abi from '../../kvm/abi.js';
import type { Struct } from '../../kvm/layout.js';
import * as structs from '../../kvm/structs.js';

function noHeaders(): string | false {
  if (!existsSync('/usr/include/linux/kvm.h')) return "the kernel's headers are not installed";
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'gcc is not installed';
  }
}

/** Evaluates C expressions over <linux/kvm.h>; one whose name the installed header does not define gives undefined. */
function evaluate(expressions: readonly { text: string; needs?: string }[]): (bigint | undefined)[] {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-abi-'));
  try {
    const lines = expressions.map(({ text, needs }) => {
      const print = `printf("%llu\\n", (unsigned long long)(${text}));`;
      return needs ? `#ifdef ${needs}\n${print}\n#else\nputs("-");\n#endif` : print;
    });
    const source = [
      '#include <stddef.h>\n#include <stdio.h>\n#include <linux/kvm.h>\n#include <sys/socket.h>\n#include <signal.h>',
      `int main(void) {\n${lines.join('\n')}\nreturn 0; }`,
    ].join('\n');
    writeFileSync(join(dir, 'abi.c'), source);
    execFileSync('gcc', ['-D_GNU_SOURCE', '-o', join(dir, 'abi'), join(dir, 'abi.c')]);
    const out = execFileSync(join(dir, 'abi'), { encoding: 'utf8' }).trimEnd().split('\n');
    return out.map((line) => (line === '-' ? undefined : BigInt(line)));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Compares numbers by name with what C says of each. */
function compare(t: Test, entries: readonly { name: string; ours: number; text: string; needs?: string }[]): void {
  const theirs = evaluate(entries);
  t.equal(theirs.length, entries.length);
  const known = entries.filter((_, i) => theirs[i] !== undefined);
  t.ok(known.length > entries.length / 2, 'the installed header is new enough to tell most of it');
  t.strictSame(
    Object.fromEntries(known.map(({ name, ours }) => [name, BigInt(ours)])),
    Object.fromEntries(entries.flatMap(({ name }, i) => (theirs[i] === undefined ? [] : [[name, theirs[i]]]))),
  );
}

const skip = noHeaders();

t.test("ioctl requests, capabilities and exits have the kernel header's numbers", { skip }, (t) => {
  const named = (table: Readonly<Record<string, number>>, prefix = '') =>
    Object.entries(table).map(([name, ours]) => ({ name, ours, text: prefix + name, needs: prefix + name }));
  compare(t, [
    { name: 'KVM_API_VERSION', ours: abi.KVM_API_VERSION, text: 'KVM_API_VERSION' },
    ...named(abi.IOCTL),
    ...named(abi.CAP),
    ...named(abi.EXIT, 'KVM_EXIT_'),
    ...named(abi.MP_STATE, 'KVM_MP_STATE_'),
    ...named(abi.SYSTEM_EVENT, 'KVM_SYSTEM_EVENT_'),
    ...Object.entries(abi.INTERNAL_ERROR_NAMES).map(([ours, name]) => ({ name, ours: Number(ours), text: name })),
    ...named({
      KVM_EXIT_IO_OUT: abi.KVM_EXIT_IO_OUT,
      KVM_MEM_LOG_DIRTY_PAGES: abi.KVM_MEM_LOG_DIRTY_PAGES,
      KVM_MEM_READONLY: abi.KVM_MEM_READONLY,
      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE: abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
      KVM_DIRTY_LOG_INITIALLY_SET: abi.KVM_DIRTY_LOG_INITIALLY_SET,
      KVM_PIT_SPEAKER_DUMMY: abi.KVM_PIT_SPEAKER_DUMMY,
      KVM_IRQCHIP_PIC_MASTER: abi.IRQCHIP.PIC_MASTER,
      KVM_IRQCHIP_PIC_SLAVE: abi.IRQCHIP.PIC_SLAVE,
      KVM_IRQCHIP_IOAPIC: abi.IRQCHIP.IOAPIC,
    }),
  ]);
  t.end();
});

t.test("offsets inside kvm_run are the kernel header's", { skip }, (t) => {
  const members: Record<keyof typeof abi.RUN, string> = {
    immediate_exit: 'immediate_exit',
    exit_reason: 'exit_reason',
    io_direction: 'io.direction',
    io_size: 'io.size',
    io_port: 'io.port',
    io_count: 'io.count',
    io_data_offset: 'io.data_offset',
    mmio_phys_addr: 'mmio.phys_addr',
    mmio_data: 'mmio.data',
    mmio_len: 'mmio.len',
    mmio_is_write: 'mmio.is_write',
    internal_suberror: 'internal.suberror',
    internal_ndata: 'internal.ndata',
    internal_data: 'internal.data',
    fail_entry_reason: 'fail_entry.hardware_entry_failure_reason',
    system_event_type: 'system_event.type',
    hw_exit_reason: 'hw.hardware_exit_reason',
  };
  compare(
    t,
    Object.entries(members).map(([name, member]) => ({
      name,
      ours: abi.RUN[name as keyof typeof abi.RUN],
      text: `offsetof(struct kvm_run, ${member})`,
    })),
  );
  t.end();
});

t.test("structs have the kernel header's sizes and offsets", { skip }, (t) => {
  const all: Struct<unknown>[] = [
    structs.kvmSegment,
    structs.kvmDtable,
    structs.kvmRegs,
    structs.kvmSregs,
    structs.kvmSregs2,
    structs.kvmVcpuEvents,
    structs.kvmDebugregs,
    structs.kvmXcrs,
    structs.kvmCpuidEntry,
    structs.kvmPicState,
    structs.kvmIoapicState,
    structs.kvmPitState2,
  ];
  compare(
    t,
    all.flatMap((s) => [
      { name: s.name, ours: s.size, text: `sizeof(struct ${s.name})` },
      ...Object.entries(s.offsets)
        // Members of ours that the header has no name for.
        .filter(([member]) => !/^(pad|reserved)/.test(member))
        .map(([member, ours]) => ({
          name: `${s.name}.${member}`,
          ours,
          text: `offsetof(struct ${s.name}, ${member})`,
        })),
    ]),
  );
  t.end();
});

t.test('structs that are written by hand have the sizes their ioctl requests carry', (t) => {
  // include/uapi/asm-generic/ioctl.h: bits 16 to 29 of a request are the bytes of its argument.
  const bytes = (request: number) => (request >>> 16) & 0x3fff;
  t.equal(bytes(abi.IOCTL.KVM_GET_REGS), structs.kvmRegs.size);
  t.equal(bytes(abi.IOCTL.KVM_GET_SREGS), structs.kvmSregs.size);
  t.equal(bytes(abi.IOCTL.KVM_GET_SREGS2), structs.kvmSregs2.size);
  t.equal(bytes(abi.IOCTL.KVM_GET_VCPU_EVENTS), structs.kvmVcpuEvents.size);
  t.equal(bytes(abi.IOCTL.KVM_GET_DEBUGREGS), structs.kvmDebugregs.size);
  t.equal(bytes(abi.IOCTL.KVM_GET_XCRS), structs.kvmXcrs.size);
  t.equal(bytes(abi.IOCTL.KVM_GET_PIT2), structs.kvmPitState2.size);
  t.equal(bytes(abi.IOCTL.KVM_GET_IRQCHIP), 520);
  t.equal(bytes(abi.IOCTL.KVM_SET_CLOCK), 48);
  t.equal(bytes(abi.IOCTL.KVM_SET_USER_MEMORY_REGION), 32);
  t.equal(bytes(abi.IOCTL.KVM_IRQFD), 32);
  t.equal(bytes(abi.IOCTL.KVM_IOEVENTFD), 64);
  t.equal(bytes(abi.IOCTL.KVM_CLEAR_DIRTY_LOG), 24);
  t.equal(bytes(abi.IOCTL.KVM_ENABLE_CAP), 104);
  t.end();
});

t.test('an exit reason reads as its name, and one that is not known as its number', (t) => {
  t.equal(abi.exitName(6), 'KVM_EXIT_MMIO');
  t.equal(abi.exitName(12345), 'exit reason 12345');
  t.end();
});
