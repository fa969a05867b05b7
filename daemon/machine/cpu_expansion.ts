/**
 * What query-cpu-definitions and query-cpu-model-expansion tell: the models that -cpu takes, and the properties of the CPU that each
 * would be on this host. Names as QEMU 7.2's (target/i386/cpu.c).
 */
import { Kvm } from '../../kvm/kvm.js';
import type { KvmCpuidEntry } from '../../kvm/structs.js';
import { isJsonObject } from '../../protocol/json_value.js';
import { genericError, texts } from '../../protocol/qmp_errors.js';
import type { CpuDefinitionInfo, CpuModelExpansionType, CpuModelInfo } from '../../schemas/generated/qmp.js';
import { canonicalFeature, FEATURE_WORDS, featuresOf } from './cpu_features.js';
import { CPU_MODELS, type CpuModel, type CpuModelName, resolveCpu } from './cpu_models.js';
import { offeredCpuid } from './cpuid.js';
import { cpuTypeName } from './machine_types.js';

/** The model without any feature, which an expansion describes others by. -cpu does not take it. */
const BASE = 'base';

/** Properties that are no features, and their values for `base`. */
const NO_IDENTITY = { family: 0, model: 0, stepping: 0, vendor: '', 'model-id': '', 'min-level': 0, 'min-xlevel': 0 };
type Identity = { [name in keyof typeof NO_IDENTITY]: number | string };

/** Properties that an expansion may be asked with and that change nothing in it. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(['migratable', 'check', 'enforce']);

/** What guests can be given here, or undefined where KVM cannot be used. */
export function hostCpuid(): KvmCpuidEntry[] | undefined {
  try {
    using kvm = Kvm.open();
    return offeredCpuid(kvm.supportedCpuid(), kvm.capability('KVM_CAP_TSC_DEADLINE_TIMER') > 0);
  } catch {
    return undefined; // the models are told as unavailable then
  }
}

/** The models that -cpu takes. */
export function cpuDefinitions(host: readonly KvmCpuidEntry[] | undefined): CpuDefinitionInfo[] {
  const has = host && featuresOf(host);
  return CPU_MODELS.map(({ name, ...more }: CpuModel) => {
    const wanted = FEATURE_WORDS.flatMap((word) => [...word.names.values()]).filter((each) =>
      more.definition?.features.has(each),
    );
    return {
      name,
      'migration-safe': more.definition !== undefined,
      static: false,
      'unavailable-features': has ? wanted.filter((feature) => !has.get(feature)) : ['kvm'],
      typename: cpuTypeName(name),
      deprecated: false,
    };
  });
}

/**
 * A model with properties of its own as QEMU expands it: `static` describes it by `base`, `full` under its own name.
 * @throws QmpError for a model or a property that there is not, and for a value of another type
 */
export function expandCpuModel(
  type: CpuModelExpansionType,
  { name, props }: CpuModelInfo,
  host: readonly KvmCpuidEntry[] | undefined,
): CpuModelInfo {
  const model = CPU_MODELS.find((known) => known.name === name)?.name;
  if (!model && name !== BASE) throw genericError(`CPU model '${name}' not found`);
  const asked = readProperties(name, isJsonObject(props) ? props : {});
  const { features, identity } = model ? resolved(model, asked.features, host) : bare(asked.features);
  const known = { ...features, ...identity, ...asked.identity };
  if (type === 'static') return { name: BASE, props: known };
  return { name, props: { ...known, level: known['min-level'], xlevel: known['min-xlevel'] } };
}

interface Properties {
  readonly features: ReadonlyMap<string, boolean>;
  readonly identity: Partial<Identity>;
}

function readProperties(model: string, props: { readonly [name: string]: unknown }): Properties {
  const features = new Map<string, boolean>();
  const identity: Partial<Identity> = {};
  for (const [name, value] of Object.entries(props)) {
    const feature = canonicalFeature(name);
    const wanted = Object.hasOwn(NO_IDENTITY, name) ? typeof NO_IDENTITY[name as keyof Identity] : 'boolean';
    if (!feature && wanted === 'boolean' && !WITHOUT_EFFECT.has(name)) {
      throw genericError(`Property '${cpuTypeName(model)}.${name}' not found`);
    }
    if (wanted === 'number' ? typeof value !== 'bigint' : typeof value !== wanted) {
      throw genericError(texts.wrongType(name, wanted === 'number' ? 'integer' : wanted));
    }
    if (feature) features.set(feature, value as boolean);
    else if (wanted !== 'boolean')
      identity[name as keyof Identity] = wanted === 'number' ? Number(value) : String(value);
  }
  return { features, identity };
}

interface Expansion {
  readonly features: { readonly [name: string]: boolean };
  readonly identity: Identity;
}

function bare(asked: ReadonlyMap<string, boolean>): Expansion {
  const features = Object.fromEntries([...featuresOf([]).keys()].map((name) => [name, asked.get(name) === true]));
  return { features, identity: NO_IDENTITY };
}

function resolved(
  model: CpuModelName,
  features: ReadonlyMap<string, boolean>,
  host: readonly KvmCpuidEntry[] | undefined,
): Expansion {
  if (!host) throw genericError(`CPU model '${model}' requires KVM, which cannot be used here`);
  const { leaves } = resolveCpu({ model, features, check: false, enforce: false }, host);
  return { features: Object.fromEntries(featuresOf(leaves)), identity: identify(leaves) };
}

/** Who a CPU says it is (Intel SDM vol. 2A "CPUID", leaves 0, 1 and 0x80000002 to 4). */
function identify(leaves: readonly KvmCpuidEntry[]): Identity {
  const leaf = (fn: number) => leaves.find((entry) => entry.function === fn);
  const text = (...words: number[]) => {
    const bytes = new Uint8Array(Uint32Array.from(words).buffer);
    return String.fromCharCode(...bytes).replace(/\0.*$/s, '');
  };
  const [basic, extended] = [leaf(0), leaf(0x80000000)];
  const signature = leaf(1)?.eax ?? 0;
  const family = (signature >>> 8) & 0xf;
  const brand = [leaf(0x80000002), leaf(0x80000003), leaf(0x80000004)];
  return {
    family: family === 0xf ? family + ((signature >>> 20) & 0xff) : family,
    model: ((signature >>> 4) & 0xf) | ((signature >>> 12) & 0xf0),
    stepping: signature & 0xf,
    vendor: basic ? text(basic.ebx, basic.edx, basic.ecx) : '',
    'model-id': text(...brand.flatMap((part) => (part ? [part.eax, part.ebx, part.ecx, part.edx] : []))),
    'min-level': basic?.eax ?? 0,
    'min-xlevel': extended?.eax ?? 0,
  };
}
