import type { SchemaNode } from '../schemas/generated/qmp.js';
import { branchFor, memberOf, variantFor } from './schema_walk.js';

/**
 * Puts the members of a value into the order of its schema, which decides QEMU's order on the wire where hash buckets
 * collide, and drops those that are undefined. A member the schema does not have is a TypeError: it is a fault of this
 * program, never of its peer.
 */
export function orderMembers(unresolved: SchemaNode, value: unknown, where: string): unknown {
  const node = branchFor(unresolved, value);
  if (node['x-qapi'] === 'any') return value;
  if (Array.isArray(value)) {
    const items = node.items as SchemaNode;
    return value.map((item, index) => orderMembers(items, item, `${where}[${index}]`));
  }
  if (typeof value !== 'object' || value === null || node.type !== 'object') return value;
  const source = value as { [name: string]: unknown };
  if (node.additionalProperties) return { ...source };
  const ordered: { [name: string]: unknown } = {};
  for (const { properties = {}, required } of [node, variantFor(node, source) ?? {}]) {
    for (const [name, member] of Object.entries(properties)) {
      if (source[name] !== undefined) ordered[name] = orderMembers(member, source[name], `${where}.${name}`);
      else if (required?.includes(name)) throw new TypeError(`${where} lacks its member '${name}'`);
    }
  }
  for (const name of Object.keys(source)) {
    if (source[name] !== undefined && !memberOf(node, source, name)) {
      throw new TypeError(`${where} has a member '${name}' that its schema does not have`);
    }
  }
  return ordered;
}
