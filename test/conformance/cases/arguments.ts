/** Wrong arguments for every command that vmhostd has: what QEMU's own schema says, each member of it violated in turn. */
import { COMMANDS } from '../../../schemas/generated/qmp.js';
import type { Step, Transcript } from '../transcript.js';
import { command, PC } from './machines.js';

/** SchemaInfo, as query-qmp-schema returns it (qapi/introspect.json), as far as it is used here. */
export interface SchemaInfo {
  readonly name: string;
  readonly 'meta-type': 'builtin' | 'enum' | 'array' | 'object' | 'alternate' | 'command' | 'event';
  readonly 'json-type'?: string;
  readonly 'arg-type'?: string;
  readonly 'element-type'?: string;
  readonly values?: readonly string[];
  readonly members?: ReadonlyArray<{ readonly name?: string; readonly type: string; readonly default?: null }>;
  readonly tag?: string;
}

type Types = ReadonlyMap<string, SchemaInfo>;

/** Values of every kind JSON has; those that a type takes are left out for it. */
const VALUES: ReadonlyArray<{ kinds: readonly string[]; value: unknown }> = [
  { kinds: ['int', 'number'], value: 1 },
  { kinds: ['number'], value: 1.5 },
  { kinds: ['string'], value: 'x' },
  { kinds: ['boolean'], value: true },
  { kinds: ['null'], value: null },
  { kinds: ['array'], value: [] },
  { kinds: ['object'], value: {} },
];

export function argumentCases(schema: readonly SchemaInfo[]): Transcript[] {
  const types: Types = new Map(schema.map((info) => [info.name, info]));
  const commands = schema.filter((info) => info['meta-type'] === 'command').map(({ name }) => name);
  const others = commands.filter((name) => !Object.hasOwn(COMMANDS, name)).sort();
  const made = schema
    .filter((info) => info['meta-type'] === 'command' && Object.hasOwn(COMMANDS, info.name))
    .map(({ name, 'arg-type': argType }) => stepsOf(name, types.get(argType as string) as SchemaInfo, types))
    .filter(({ steps }) => steps.length > 0)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...made, ...others.map(notOffered)];
}

/** A command that vmhostd has not. */
function notOffered(name: string): Transcript {
  const steps = [{ send: command(name, { 'no-such-member': 1 }), recv: '' }];
  return {
    name: `not-offered-${name}`,
    group: 'args',
    negotiated: true,
    qemu_args: [...PC, '-S'],
    session: 'args',
    steps,
  };
}

function stepsOf(name: string, object: SchemaInfo, types: Types): Transcript {
  const sends = new Set<string>();
  const valid: { [member: string]: unknown } = {};
  const members = object.members ?? [];
  for (const { name: member, type, default: optional } of members) {
    if (optional === undefined) valid[member as string] = validValue(type, types);
  }
  const send = (args: object) => sends.add(command(name, args));
  send({ 'no-such-member': 1 });
  send({ ...valid, 'no-such-member': 1 });
  for (const { name: member = '', type, default: optional } of members) {
    if (optional === undefined) {
      const { [member]: _left, ...rest } = valid;
      send(rest);
    }
    for (const wrong of wrongValues(type, types)) send({ ...valid, [member]: wrong });
  }
  const steps: Step[] = [...sends].map((text) => ({ send: text, recv: '' }));
  return { name: `args-${name}`, group: 'args', negotiated: true, qemu_args: [...PC, '-S'], session: 'args', steps };
}

function validValue(type: string, types: Types): unknown {
  const info = types.get(type) as SchemaInfo;
  if (info['meta-type'] === 'enum') return info.values?.[0] ?? (info.members?.[0]?.name as string);
  if (info['meta-type'] === 'array') return [];
  if (info['meta-type'] === 'object') {
    const required = (info.members ?? []).filter((member) => member.default === undefined);
    return Object.fromEntries(required.map((member) => [member.name, validValue(member.type, types)]));
  }
  if (info['meta-type'] === 'alternate') return validValue(info.members?.[0]?.type as string, types);
  return VALUES.find(({ kinds }) => kinds.includes(info['json-type'] as string))?.value ?? 'x';
}

/** Values that the type does not take, and values with something wrong inside. */
function wrongValues(type: string, types: Types, depth = 0): unknown[] {
  const info = types.get(type) as SchemaInfo;
  const kind = info['meta-type'] === 'builtin' ? (info['json-type'] as string) : info['meta-type'];
  if (kind === 'value') return [];
  const wrong = VALUES.filter(({ kinds }) => !takes(info, types, kinds)).map(({ value }) => value);
  if (kind === 'enum') wrong.push('no-such-value', '');
  if (kind === 'int') wrong.push(1e30, -1e30);
  if (depth > 1) return wrong;
  if (kind === 'array') {
    const element = info['element-type'] as string;
    const good = validValue(element, types);
    for (const bad of wrongValues(element, types, depth + 1)) wrong.push([bad]);
    for (const bad of wrongValues(element, types, depth + 2).slice(0, 2)) wrong.push([good, bad]);
  }
  if (kind === 'object') {
    const valid = validValue(type, types) as object;
    wrong.push({ ...valid, 'no-such-member': 1 });
    for (const { name = '', type: memberType } of info.members ?? []) {
      const { [name]: left, ...rest } = valid as { [name: string]: unknown };
      if (left !== undefined) wrong.push(rest);
      for (const bad of wrongValues(memberType, types, depth + 1)) wrong.push({ ...valid, [name]: bad });
    }
  }
  return wrong;
}

function takes(info: SchemaInfo, types: Types, kinds: readonly string[]): boolean {
  if (info['meta-type'] === 'alternate') {
    return (info.members ?? []).some(({ type }) => takes(types.get(type) as SchemaInfo, types, kinds));
  }
  if (info['meta-type'] === 'enum') return kinds.includes('string');
  if (info['meta-type'] === 'array' || info['meta-type'] === 'object') return kinds.includes(info['meta-type']);
  return kinds.includes(info['json-type'] as string);
}
