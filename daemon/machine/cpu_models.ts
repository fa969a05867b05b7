/** CPU models by QEMU 7.2's names, and the CPUID that a choice of one gives on this host. Definitions: QEMU's target/i386/cpu.c. */
import type { KvmCpuidEntry } from '../../kvm/structs.js';
import { describeFeature, FEATURE_WORDS, featureBits, readWord } from './cpu_features.js';

/** What `-cpu` says. */
export interface CpuChoice {
  readonly model: CpuModelName;
  /** Features switched on or off, by canonical name. */
  readonly features: ReadonlyMap<string, boolean>;
  /** A feature that the host lacks is told on standard error. */
  readonly check: boolean;
  /** A feature that the host lacks keeps the daemon from starting. */
  readonly enforce: boolean;
}

/** A model of its own; one without a definition is the host's CPU. */
export interface CpuModel {
  readonly name: string;
  readonly definition?: CpuDefinition;
}

export interface CpuDefinition {
  readonly modelId: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  /** The highest basic and extended leaf. */
  readonly level: number;
  readonly xlevel: number;
  readonly features: ReadonlySet<string>;
}

/** Of every 64-bit model; `x2apic` and `hypervisor` are KVM's gift to all. */
const COMMON =
  'fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni cx16 syscall nx lm x2apic hypervisor';
const features = (more: string) => new Set(`${COMMON} ${more}`.split(' '));

export const CPU_MODELS = [
  { name: 'host' },
  { name: 'max' },
  {
    name: 'qemu64',
    definition: {
      modelId: 'QEMU Virtual CPU version 2.5+',
      family: 15,
      model: 107,
      stepping: 1,
      level: 0xd,
      xlevel: 0x8000000a,
      features: features('lahf-lm'),
    },
  },
  {
    name: 'kvm64',
    definition: {
      modelId: 'Common KVM processor',
      family: 15,
      model: 6,
      stepping: 1,
      level: 0xd,
      xlevel: 0x80000008,
      features: features('vme'),
    },
  },
] as const satisfies readonly CpuModel[];

export type CpuModelName = (typeof CPU_MODELS)[number]['name'];

/** Without `-cpu`. */
export const HOST_CPU: CpuChoice = { model: 'host', features: new Map(), check: true, enforce: false };

const EXTENDED = 0x80000000;
const KVM_LEAVES = { from: 0x40000000, to: 0x4fffffff };
/** Features of AMD's that leaf 0x80000001 EDX repeats from leaf 1 EDX (AMD APM vol. 3). */
const AMD_ALIASES = 0x0183f3ff;
/** XCR0's components, the features that need each, and leaf 0xd's subleaf of each (Intel SDM vol. 1 §13.1). */
const XSTATE: readonly (readonly [component: number, feature: string])[] = [
  [2, 'avx'],
  [3, 'mpx'],
  [4, 'mpx'],
  [5, 'avx512f'],
  [6, 'avx512f'],
  [7, 'avx512f'],
  [9, 'pku'],
  [17, 'amx-tile'],
  [18, 'amx-tile'],
];
const XSTATE_ALWAYS = 0x3;

/** A choice on this host. */
export interface ResolvedCpu {
  readonly leaves: KvmCpuidEntry[];
  /** What was asked for and the host lacks, in QEMU's words for it. */
  readonly missing: string[];
}

/** @param supported what the host's KVM can give to a guest */
export function resolveCpu(choice: CpuChoice, supported: readonly KvmCpuidEntry[]): ResolvedCpu {
  const chosen = CPU_MODELS.find(({ name }) => name === choice.model) as CpuModel;
  const { definition } = chosen;
  const missing: string[] = [];
  const leaves = supported.filter((leaf) => !definition || isKept(leaf, definition)).map((leaf) => ({ ...leaf }));
  const has = new Map<string, boolean>();
  for (const word of FEATURE_WORDS) {
    const host = readWord(word, supported);
    const own =
      definition && !isKvmLeaf(word.function) ? featureBits(word, (name) => definition.features.has(name)) : host;
    const on = featureBits(word, (name) => choice.features.get(name) === true);
    const off = featureBits(word, (name) => choice.features.get(name) === false);
    const wanted = (own | on) & ~off;
    const given = (wanted & host) >>> 0;
    for (const [bit, name] of word.names) {
      if (((wanted & ~host) >>> bit) & 1) missing.push(describeFeature(word, bit));
      has.set(name, ((given >>> bit) & 1) === 1);
    }
    const leaf = leaves.find((entry) => entry.function === word.function && entry.index === word.index);
    if (leaf) leaf[word.register] = given;
  }
  if (definition) redefine(leaves, definition, has);
  return { leaves, missing };
}

function isKvmLeaf(fn: number): boolean {
  return fn >= KVM_LEAVES.from && fn <= KVM_LEAVES.to;
}

/** Whether a model with a definition has this leaf of the host's. */
function isKept({ function: fn, index }: KvmCpuidEntry, { level, xlevel }: CpuDefinition): boolean {
  if (isKvmLeaf(fn)) return true;
  if (fn >= EXTENDED) return fn <= xlevel;
  return fn <= level && !(fn === 0x7 && index > 0);
}

/** What of the leaves is neither a feature nor the same as the host's. */
function redefine(leaves: KvmCpuidEntry[], definition: CpuDefinition, has: ReadonlyMap<string, boolean>): void {
  const brand = new Uint8Array(48);
  new TextEncoder().encodeInto(definition.modelId, brand);
  const text = new DataView(brand.buffer);
  const [vendor] = leaves.filter((leaf) => leaf.function === 0);
  const isAmd = vendor !== undefined && [0x68747541, 0x6f677948].includes(vendor.ebx); // `Auth`, `Hygo`
  const edx1 = leaves.find((leaf) => leaf.function === 1)?.edx ?? 0;
  const xsave = has.get('xsave') === true;
  let xcr0 = XSTATE_ALWAYS;
  for (const [component, feature] of XSTATE) if (has.get(feature)) xcr0 |= 1 << component;
  for (const leaf of leaves) {
    const { function: fn, index } = leaf;
    if (fn === 0x0) leaf.eax = Math.min(leaf.eax, definition.level);
    else if (fn === EXTENDED) leaf.eax = Math.min(leaf.eax, definition.xlevel);
    else if (fn === 0x1) leaf.eax = signature(definition);
    else if (fn === 0x7)
      leaf.eax = 0; // no subleaf but the first
    else if (fn === 0xa)
      clear(leaf); // no performance counters, as with QEMU's pmu=off
    else if (fn === 0xd && (!xsave || (index > 1 && ((xcr0 >>> index) & 1) === 0))) clear(leaf);
    else if (fn === 0xd && index === 0) Object.assign(leaf, { eax: (leaf.eax & xcr0) >>> 0, edx: 0 });
    else if (fn === 0x80000001 && isAmd) leaf.edx = (leaf.edx | (edx1 & AMD_ALIASES)) >>> 0;
    else if (fn >= 0x80000002 && fn <= 0x80000004) {
      const at = (fn - 0x80000002) * 16;
      const [eax, ebx, ecx, edx] = [0, 4, 8, 12].map((i) => text.getUint32(at + i, true));
      Object.assign(leaf, { eax, ebx, ecx, edx });
    } else if (fn === 0x8000000a && !has.get('svm')) clear(leaf);
  }
}

function clear(leaf: KvmCpuidEntry): void {
  Object.assign(leaf, { eax: 0, ebx: 0, ecx: 0, edx: 0 });
}

/** Leaf 1 EAX (Intel SDM vol. 2A, figure 3-6). */
function signature({ family, model, stepping }: CpuDefinition): number {
  const extended = Math.max(family - 0xf, 0);
  return (
    ((extended << 20) | ((model >> 4) << 16) | (Math.min(family, 0xf) << 8) | ((model & 0xf) << 4) | stepping) >>> 0
  );
}
