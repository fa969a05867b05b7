/** Ways from one node of a schema to the next, for a given value: references, branches of alternates, variants of unions. */
import { type SchemaNode, TYPES } from '../schemas/generated/qmp.js';

const REF = /^\.\.\/types\/(.+)\.json$/;

/** Where references lead; each is followed once, for every query's reply is walked along its schema. */
const targets = new Map<string, SchemaNode>();

/** Follows a reference to a named type. */
export function resolve(node: SchemaNode): SchemaNode {
  if (node.$ref === undefined) return node;
  let target = targets.get(node.$ref);
  if (target === undefined) {
    const name = REF.exec(node.$ref)?.[1];
    target = name === undefined ? node : resolve(TYPES[name] as SchemaNode);
    targets.set(node.$ref, target);
  }
  return target;
}

/** The kinds of JSON values that an alternate tells apart (QEMU's QType). */
export type JsonKind = 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object';

/** The kind of a value; integers are numbers in either form. */
export function kindOf(value: unknown): JsonKind {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'bigint') return 'number';
  return typeof value as JsonKind;
}

/** The kind of value a branch of an alternate is for. */
export function kindOfNode(unresolved: SchemaNode): JsonKind {
  const node = resolve(unresolved);
  if (node.oneOf) return 'string';
  return node.type === 'integer' ? 'number' : (node.type as JsonKind);
}

/** The node that describes `value`: of an alternate its branch, of anything else the node itself. References are followed. */
export function branchFor(unresolved: SchemaNode, value: unknown): SchemaNode {
  const node = resolve(unresolved);
  const branch = node.anyOf?.find((each) => kindOfNode(each) === kindOf(value));
  return branch ? resolve(branch) : node;
}

/** What a flat union has more for this object; undefined for other nodes and where the variant has nothing. */
export function variantFor({ 'x-discriminator': tag, 'x-variants': variants }: SchemaNode, value: object) {
  const chosen = tag === undefined ? undefined : (value as { [name: string]: unknown })[tag];
  const variant =
    typeof chosen === 'string' && variants && Object.hasOwn(variants, chosen) ? variants[chosen] : undefined;
  return variant && resolve(variant);
}

/** The schema of an object's member, or undefined when it has none of that name. */
export function memberOf(node: SchemaNode, value: object, name: string): SchemaNode | undefined {
  const { properties } = node;
  if (properties && Object.hasOwn(properties, name)) return properties[name];
  const more = variantFor(node, value)?.properties;
  return more && Object.hasOwn(more, name) ? more[name] : undefined;
}
