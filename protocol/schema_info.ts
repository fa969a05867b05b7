/** The schemas in QAPI's form: what query-qmp-schema returns (qapi/introspect.json, scripts/qapi/introspect.py of QEMU 7.2). */
import {
  COMMANDS,
  type CommandName,
  EVENTS,
  type JSONType,
  type SchemaInfo,
  type SchemaInfoObjectMember,
  type SchemaNode,
} from '../schemas/generated/qmp.js';
import type { Notes } from '../schemas/schema_node.js';
import { resolve } from './schema_walk.js';

/** The object type without members, of commands without arguments and of values without a variant. */
const EMPTY: SchemaNode = { type: 'object', additionalProperties: false };

/** QAPI's builtin types; integers of all kinds are told as `int`. */
const BUILTINS: { readonly [name: string]: JSONType } = {
  str: 'string',
  int: 'int',
  number: 'number',
  bool: 'boolean',
  null: 'null',
  any: 'value',
};

/** Describes the given commands, all events, and the types that they use, each after what uses it. */
export function schemaInfo(commands: readonly CommandName[]): SchemaInfo[] {
  const types = new TypeNames();
  const entities: SchemaInfo[] = [
    ...commands.map((name): SchemaInfo => {
      const schema = COMMANDS[name];
      return {
        name,
        'meta-type': 'command',
        ...features(schema),
        'arg-type': types.use(schema.arguments),
        'ret-type': types.use(schema.returns ?? EMPTY),
        ...(schema['x-allow-oob'] ? { 'allow-oob': true } : {}),
      };
    }),
    ...Object.entries(EVENTS).map(
      ([name, schema]): SchemaInfo => ({
        name,
        'meta-type': 'event',
        ...features(schema),
        'arg-type': types.use(schema.data ?? EMPTY),
      }),
    ),
  ];
  return [...entities, ...types.describe()];
}

/** Gives each type that is used a name, and describes it once. */
class TypeNames {
  readonly #names = new Map<SchemaNode | string, string>();
  /** What describes the types used so far; describing one may add more. */
  readonly #queue: Array<() => SchemaInfo> = [];
  #numbered = 0;

  use(unresolved: SchemaNode): string {
    const node = resolve(unresolved);
    const builtin = builtinName(node);
    if (builtin) {
      const describe = (): SchemaInfo => ({
        name: builtin,
        'meta-type': 'builtin',
        'json-type': BUILTINS[builtin] as JSONType,
      });
      return this.#once(builtin, builtin, () => describe);
    }
    if (node.type === 'array') {
      const element = this.use(node.items as SchemaNode);
      const name = `[${element}]`;
      return this.#once(name, name, () => () => ({ name, 'meta-type': 'array', 'element-type': element }));
    }
    const key = node.type === 'object' && Object.keys(node.properties ?? {}).length === 0 ? EMPTY : node;
    // Clients are to start from commands and events: types have numbers for names, so that nobody relies on them.
    return this.#once(key, undefined, (name) => () => this.#describe(name, node));
  }

  /** Every type used, including those that others use. */
  describe(): SchemaInfo[] {
    const described: SchemaInfo[] = [];
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) described.push(next());
    return described;
  }

  #once(key: SchemaNode | string, known: string | undefined, describer: (name: string) => () => SchemaInfo): string {
    const seen = this.#names.get(key);
    if (seen !== undefined) return seen;
    const name = known ?? String(this.#numbered++);
    this.#names.set(key, name);
    this.#queue.push(describer(name));
    return name;
  }

  #describe(name: string, node: SchemaNode): SchemaInfo {
    if (node.oneOf) {
      const members = node.oneOf.map((value) => ({ name: value.const, ...features(value) }));
      const values = node.oneOf.map((value) => value.const);
      return { name, 'meta-type': 'enum', ...features(node), members, values };
    }
    if (node.anyOf) {
      const members = node.anyOf.map((branch) => ({ type: this.use(branch) }));
      return { name, 'meta-type': 'alternate', ...features(node), members };
    }
    const members = Object.entries(node.properties ?? {}).map(
      ([member, schema]): SchemaInfoObjectMember => ({
        name: member,
        type: this.use(schema),
        ...(node.required?.includes(member) ? {} : { default: null }),
        ...features(schema),
      }),
    );
    return { name, 'meta-type': 'object', ...features(node), members, ...this.#variants(node) };
  }

  /** Of a flat union: every value of the tag, those without a variant too. */
  #variants({ 'x-discriminator': tag, 'x-variants': variants, properties }: SchemaNode) {
    if (tag === undefined || !variants) return {};
    const values = resolve(properties?.[tag] as SchemaNode).oneOf ?? [];
    return {
      tag,
      variants: values.map(({ const: value }) => ({ case: value, type: this.use(variants[value] ?? EMPTY) })),
    };
  }
}

/** The builtin type a node is, if any. An object with members of any name is no type of QAPI's, so it is told as `any`. */
function builtinName(node: SchemaNode): string | undefined {
  if (node['x-qapi'] === 'any' || node.additionalProperties) return 'any';
  switch (node.type) {
    case 'string':
      return 'str';
    case 'integer':
      return 'int';
    case 'boolean':
      return 'bool';
    case 'number':
    case 'null':
      return node.type;
    default:
      return undefined;
  }
}

function features({ deprecated, 'x-features': others = [] }: Notes): { features?: string[] } {
  const all = [...(deprecated ? ['deprecated'] : []), ...others];
  return all.length ? { features: all } : {};
}
