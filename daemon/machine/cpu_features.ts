/**
 * CPU features by QEMU 7.2's names: which bit of CPUID each is. Of QEMU's features these are all that are CPUID's, but those of VIA and of SGX; those
 * of MSRs are not among them. Names: QEMU's target/i386/cpu.c; bits: Intel SDM vol. 2A "CPUID", AMD APM vol. 3 appendix E,
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
import type { KvmCpuidEntry } from '../../kvm/structs.js';

type Register = 'eax' | 'ebx' | 'ecx' | 'edx';

/** One register of one leaf; of its bits, those that have names. */
export interface FeatureWord {
  readonly function: number;
  readonly index: number;
  readonly register: Register;
  /** By bit number. */
  readonly names: ReadonlyMap<number, string>;
}

/** `names` is from bit 0 up; `-` is a bit without a name, `N:` goes on with bit N. */
function word(fn: number, index: number, register: Register, names: string): FeatureWord {
  const byBit = new Map<number, string>();
  let bit = 0;
  for (const name of names.split(' ')) {
    if (name.endsWith(':')) bit = Number(name.slice(0, -1));
    else if (name === '-') bit++;
    else byBit.set(bit++, name);
  }
  return { function: fn, index, register, names: byBit };
}

/** In QEMU's order, which is that of its warnings. */
export const FEATURE_WORDS: readonly FeatureWord[] = [
  word(
    ...([1, 0, 'edx'] as const),
    'fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - ds acpi mmx fxsr sse sse2 ss ht tm ia64 pbe',
  ),
  word(
    ...([1, 0, 'ecx'] as const),
    'pni pclmulqdq dtes64 monitor ds-cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr pdcm - pcid dca sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave - avx f16c rdrand hypervisor',
  ),
  word(
    ...([7, 0, 'ebx'] as const),
    'fsgsbase tsc-adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm - - mpx - avx512f avx512dq rdseed adx smap avx512ifma pcommit clflushopt clwb intel-pt avx512pf avx512er avx512cd sha-ni avx512bw avx512vl',
  ),
  word(
    ...([7, 0, 'ecx'] as const),
    '- avx512vbmi umip pku - waitpkg avx512vbmi2 - gfni vaes vpclmulqdq avx512vnni avx512bitalg - avx512-vpopcntdq - la57 22: rdpid - bus-lock-detect cldemote - movdiri movdir64b - sgxlc pks',
  ),
  word(
    ...([7, 0, 'edx'] as const),
    '- - avx512-4vnniw avx512-4fmaps fsrm - - - avx512-vp2intersect - md-clear - - - serialize - tsx-ldtrk 19: arch-lbr - - amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl stibp - arch-capabilities core-capability ssbd',
  ),
  word(7, 1, 'eax', '4: avx-vnni avx512-bf16'),
  word(
    ...([0x80000001, 0, 'edx'] as const),
    '11: syscall 20: nx - mmxext 25: fxsr-opt pdpe1gb rdtscp - lm 3dnowext 3dnow',
  ),
  word(
    ...([0x80000001, 0, 'ecx'] as const),
    'lahf-lm cmp-legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid-msr - tbm topoext perfctr-core perfctr-nb',
  ),
  word(0x80000007, 0, 'edx', '8: invtsc'),
  word(
    ...([0x80000008, 0, 'ebx'] as const),
    'clzero - xsaveerptr 9: wbnoinvd 12: ibpb - ibrs amd-stibp 24: amd-ssbd virt-ssbd amd-no-ssb',
  ),
  word(
    ...([0x40000001, 0, 'eax'] as const),
    'kvmclock kvm-nopiodelay kvm-mmu kvmclock kvm-asyncpf kvm-steal-time kvm-pv-eoi kvm-pv-unhalt - kvm-pv-tlb-flush - kvm-pv-ipi kvm-poll-control kvm-pv-sched-yield kvm-asyncpf-int kvm-msi-ext-dest-id 24: kvmclock-stable-bit',
  ),
  word(
    ...([0x8000000a, 0, 'edx'] as const),
    'npt lbrv svm-lock nrip-save tsc-scale vmcb-clean flushbyasid decodeassists - - pause-filter - pfthreshold avic - v-vmsave-vmload vgif 28: svme-addr-chk',
  ),
  word(0xd, 1, 'eax', 'xsaveopt xsavec xgetbv1 xsaves xfd'),
  word(6, 0, 'eax', '2: arat'),
];

/** Other names that QEMU takes for the same. */
const ALIASES: Readonly<Record<string, string>> = {
  sse3: 'pni',
  pclmuldq: 'pclmulqdq',
  'sse4-1': 'sse4.1',
  'sse4-2': 'sse4.2',
  xd: 'nx',
  ffxsr: 'fxsr-opt',
  i64: 'lm',
};

const KNOWN = new Set(FEATURE_WORDS.flatMap(({ names }) => [...names.values()]));

/** The feature that `name` is for, with `-` for `_` as in QEMU; undefined where there is none. */
export function canonicalFeature(name: string): string | undefined {
  const dashed = name.replaceAll('_', '-');
  const feature = Object.hasOwn(ALIASES, dashed) ? ALIASES[dashed] : dashed;
  return feature !== undefined && KNOWN.has(feature) ? feature : undefined;
}

/** The bits of a word that `wanted` names. */
export function featureBits(word: FeatureWord, wanted: (name: string) => boolean): number {
  let bits = 0;
  for (const [bit, name] of word.names) if (wanted(name)) bits |= 1 << bit;
  return bits >>> 0;
}

/** The word's register in these leaves; 0 where the leaf is not there. */
export function readWord(word: FeatureWord, leaves: readonly KvmCpuidEntry[]): number {
  const leaf = leaves.find((entry) => entry.function === word.function && entry.index === word.index);
  return leaf ? leaf[word.register] : 0;
}

/** Every feature by its name, and whether these leaves have it. */
export function featuresOf(leaves: readonly KvmCpuidEntry[]): Map<string, boolean> {
  const features = new Map<string, boolean>();
  for (const word of FEATURE_WORDS) {
    const value = readWord(word, leaves);
    for (const [bit, name] of word.names)
      features.set(name, features.get(name) === true || ((value >>> bit) & 1) === 1);
  }
  return features;
}

/** QEMU's name of one bit in a warning: `CPUID.01H:ECX.pni [bit 0]`. */
export function describeFeature(word: FeatureWord, bit: number): string {
  const leaf = word.function.toString(16).toUpperCase().padStart(2, '0');
  return `CPUID.${leaf}H:${word.register.toUpperCase()}.${word.names.get(bit)} [bit ${bit}]`;
}
