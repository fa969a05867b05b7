import t from 'tap';
import { featuresOf } from '../../../daemon/machine/cpu_features.js';
import { type CpuChoice, HOST_CPU, resolveCpu } from '../../../daemon/machine/cpu_models.js';
import { offeredCpuid, vcpuCpuid } from '../../../daemon/machine/cpuid.js';
import type { KvmCpuidEntry } from '../../../kvm/structs.js';
import { DaemonProcess } from '../../helpers/daemon.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';

const skip = noKvm();
const ONES = { eax: 0xffffffff, ebx: 0xffffffff, ecx: 0xffffffff, edx: 0xffffffff };

function leaf(fn: number, registers: Partial<KvmCpuidEntry> = ONES, index = 0): KvmCpuidEntry {
  return { function: fn, index, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0, ...registers };
}

/** A host that has everything, of AMD's. */
function host(): KvmCpuidEntry[] {
  return [
    leaf(0, { eax: 0x20, ebx: 0x68747541, edx: 0x69746e65, ecx: 0x444d4163 }),
    ...[1, 6, 7, 0xa].map((fn) => leaf(fn)),
    leaf(7, ONES, 1),
    ...[0, 1, 2, 9].map((index) => leaf(0xd, ONES, index)),
    leaf(0x1f),
    leaf(0x40000000, { eax: 0x40000001 }),
    leaf(0x40000001),
    leaf(0x80000000, { eax: 0x80000021 }),
    ...[1, 2, 3, 4, 7, 8, 0xa, 0x21].map((n) => leaf(0x80000000 + n)),
  ];
}

const choose = (model: CpuChoice['model'], features: Record<string, boolean> = {}): CpuChoice => ({
  ...HOST_CPU,
  model,
  features: new Map(Object.entries(features)),
});
const find = (leaves: readonly KvmCpuidEntry[], fn: number, index = 0) =>
  leaves.find((entry) => entry.function === fn && entry.index === index);

t.test('the host’s CPU is all that it has, less what is taken away', (t) => {
  t.same(resolveCpu(HOST_CPU, host()), { leaves: host(), missing: [] });
  t.same(resolveCpu(choose('max'), host()).leaves, host());
  const { leaves } = resolveCpu(choose('host', { vmx: false, svm: false }), host());
  t.equal(find(leaves, 1)?.ecx, 0xffffffff - (1 << 5));
  t.equal(find(leaves, 0x80000001)?.ecx, 0xffffffff - (1 << 2));
  t.equal(find(leaves, 7)?.ebx, 0xffffffff);
  t.end();
});

t.test('qemu64 and kvm64 are QEMU’s: identity, leaves and features, whatever the host has', (t) => {
  const { leaves, missing } = resolveCpu(choose('qemu64'), host());
  t.same(missing, []);
  t.equal(find(leaves, 1)?.eax, 0x60fb1, 'family 15, model 107, stepping 1');
  t.equal(find(leaves, 0)?.eax, 0xd);
  t.equal(find(leaves, 0x80000000)?.eax, 0x8000000a);
  t.equal(find(leaves, 0)?.ebx, 0x68747541, 'the vendor is the host’s');
  const text = [2, 3, 4].flatMap((n) => {
    const { eax = 0, ebx = 0, ecx = 0, edx = 0 } = find(leaves, 0x80000000 + n) ?? {};
    return [eax, ebx, ecx, edx];
  });
  t.equal(
    Buffer.from(Uint32Array.from(text).buffer).toString('latin1').replace(/\0+$/, ''),
    'QEMU Virtual CPU version 2.5+',
  );
  const on = [...featuresOf(leaves)].filter(([name, has]) => has && !name.startsWith('kvm')).map(([name]) => name);
  t.same(
    on.sort(),
    'apic clflush cmov cx16 cx8 de fpu fxsr hypervisor lahf-lm lm mca mce mmx msr mtrr nx pae pat pge pni pse pse36 sep sse sse2 syscall tsc x2apic'.split(
      ' ',
    ),
  );
  t.equal((find(leaves, 0x80000001)?.edx ?? 0) & 1, 1, 'AMD’s copy of leaf 1');
  for (const [fn, index] of [
    [0x1f, 0],
    [7, 1],
    [0x80000021, 0],
  ] as const) {
    t.equal(find(leaves, fn, index), undefined);
  }
  for (const fn of [0xa, 0xd, 0x8000000a]) t.match(find(leaves, fn), { eax: 0, ebx: 0, ecx: 0, edx: 0 });
  t.equal(find(leaves, 0x40000001)?.eax, 0xffffffff, 'KVM’s own leaves stay');

  const kvm64 = resolveCpu(choose('kvm64'), host()).leaves;
  t.equal(find(kvm64, 1)?.eax, 0xf61);
  t.equal(find(kvm64, 0x8000000a), undefined);
  t.equal(featuresOf(kvm64).get('vme'), true);
  t.equal(featuresOf(kvm64).get('lahf-lm'), false);
  t.end();
});

t.test('an added feature brings its state with it', (t) => {
  const { leaves } = resolveCpu(choose('qemu64', { xsave: true, avx: true, svm: true }), host());
  t.equal(find(leaves, 0xd)?.eax, 0x7, 'x87, SSE and AVX');
  t.same(find(leaves, 0xd, 2), leaf(0xd, ONES, 2));
  t.equal(find(leaves, 0xd, 9)?.eax, 0, 'without pku there is no room for its state');
  t.equal(find(leaves, 0x80000001)?.ecx, 0x5);
  t.end();
});

t.test('what the host lacks is left out and named as QEMU does, in its order', (t) => {
  const poor = host().map((entry) => (entry.function === 1 ? { ...entry, ecx: 0xfffffffe } : entry));
  const without7 = poor.filter((entry) => entry.function !== 7);
  const { leaves, missing } = resolveCpu(choose('qemu64', { avx512f: true, svm: false }), without7);
  t.same(missing, ['CPUID.01H:ECX.pni [bit 0]', 'CPUID.07H:EBX.avx512f [bit 16]']);
  t.equal(featuresOf(leaves).get('pni'), false);
  t.end();
});

t.test('a vCPU’s leaves are the model’s with its own number', (t) => {
  const [, one] = vcpuCpuid(offeredCpuid([leaf(0), leaf(1, { ecx: 0 })], true), 3, 4);
  t.equal(((one?.ebx ?? 0) >>> 24) & 0xff, 3);
  t.equal((one?.ecx ?? 0) >>> 0, ((1 << 21) | (1 << 24) | (1 << 31)) >>> 0, 'x2APIC, the deadline timer, a hypervisor');
  t.end();
});

for (const model of ['qemu64,-svm', 'kvm64', 'max']) {
  t.test(`a guest boots on ${model}, and goes on after a reset and a migration`, { skip }, async (t) => {
    const daemon = await TestDaemon.source(t, 'fill=1 hb=20', { more: ['-cpu', model] });
    const from = daemon.lines.length;
    await daemon.qmp.execute('system_reset');
    await daemon.line(/^HB 2 /, { from });
    const { daemon: destination, uri } = await TestDaemon.destination(t, { more: ['-cpu', model] });
    await daemon.qmp.execute('migrate', { uri });
    await destination.line(/^HB /);
    t.match(await destination.verify(), /^VERIFY ok /);
  });
}

t.test('with enforce, a feature that the host lacks keeps the daemon from starting', { skip }, async (t) => {
  const daemon = new DaemonProcess(t, ['-cpu', 'qemu64,+3dnow,+ia64,enforce']);
  t.equal(await daemon.exited, 1);
  t.match(daemon.stderr, /^vmhostd: warning: host doesn't support requested feature: CPUID.01H:EDX.ia64 \[bit 30\]$/m);
  t.match(daemon.stderr, /^vmhostd: Host doesn't support requested features$/m);
});
