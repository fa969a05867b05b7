/** `-cpu MODEL[,+FEATURE][,-FEATURE][,FEATURE=on|off]`, with QEMU's refusals. */
import { canonicalFeature } from '../machine/cpu_features.js';
import { CPU_MODELS, type CpuChoice, HOST_CPU } from '../machine/cpu_models.js';
import { parseBoolean, UsageError } from './values.js';

/** Properties of QEMU's CPUs that are no features, and change nothing here: the guest is migratable, and has the host's address widths. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(['migratable', 'host-phys-bits', 'l3-cache']);

/** @throws UsageError */
export function parseCpu(text: string): CpuChoice {
  const [name = '', ...parts] = text.split(',');
  if (name === '') throw new UsageError('-cpu option cannot be empty');
  const model = CPU_MODELS.find((known) => known.name === name)?.name;
  if (!model) throw new UsageError(`unable to find CPU model '${name}'`);
  let { check, enforce } = HOST_CPU;
  const assigned = new Map<string, boolean>();
  const signed = new Map<string, boolean>();
  for (const part of parts) {
    const sign = part[0];
    const [key = '', value = 'on'] = (sign === '+' || sign === '-' ? part.slice(1) : part).split('=', 2);
    const feature = canonicalFeature(key);
    const property = `${model}-x86_64-cpu.${key}`;
    if (sign === '+' || sign === '-') {
      if (!feature || part.includes('=')) throw new UsageError(`Property '${property}' not found`);
      // As in QEMU, of both signs the minus counts, and a sign counts more than an assignment.
      signed.set(feature, sign === '+' && signed.get(feature) !== false);
      continue;
    }
    const refuse = (why: string) => new UsageError(`can't apply global ${property}=${value}: ${why}`);
    const isProperty = key === 'check' || key === 'enforce' || WITHOUT_EFFECT.has(key);
    if (!feature && !isProperty) throw refuse(`Property '${property}' not found`);
    let on: boolean;
    try {
      on = parseBoolean('-cpu', value);
    } catch {
      throw refuse(`Parameter '${key}' expects 'on' or 'off'`);
    }
    if (feature) assigned.set(feature, on);
    else if (key === 'check') check = on;
    else if (key === 'enforce') enforce = on;
  }
  return { model, features: new Map([...assigned, ...signed]), check, enforce };
}
