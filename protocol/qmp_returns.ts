import type { SchemaNode } from '../schemas/generated/qmp.js';
import { branchFor, memberOf, variantFor } from './schema_walk.js';

/**
 * Puts the members of a value into the order of its schema, which decides QEMU's order on the wire where hash buckets
 * collide, and drops those that are undefined. A member the schema does not have is a TypeError: it is a fault of this
 * program, never of its peer.
 */
export function orderMembers(schema: SchemaNode, value: unknown, where: string): unknown {
  return order(schema, value, [where]);
}

/** `path` leads to the value, for the sentence about a fault: it is only put together then. */
function order(unresolved: SchemaNode, value: unknown, path: Array<string | number>): unknown {
  const node = branchFor(unresolved, value);
  if (node['x-qapi'] === 'any') return value;
  if (Array.isArray(value)) {
    const items = node.items as SchemaNode;
    return value.map((item, index) => at(index, items, item, path));
  }
  if (typeof value !== 'object' || value === null || node.type !== 'object') return value;
  const source = value as { [name: string]: unknown };
  if (node.additionalProperties) return { ...source };
  const ordered: { [name: string]: unknown } = {};
  orderInto(ordered, node, source, path);
  const variant = variantFor(node, source);
  if (variant) orderInto(ordered, variant, source, path);
  for (const name in source) {
    if (source[name] !== undefined && !memberOf(node, source, name)) {
      throw new TypeError(`${show(path)} has a member '${name}' that its schema does not have`);
    }
  }
  return ordered;
}

function orderInto(
  ordered: { [name: string]: unknown },
  { properties = {}, required }: SchemaNode,
  source: { [name: string]: unknown },
  path: Array<string | number>,
): void {
  for (const name in properties) {
    if (source[name] !== undefined) ordered[name] = at(name, properties[name] as SchemaNode, source[name], path);
    else if (required?.includes(name)) throw new TypeError(`${show(path)} lacks its member '${name}'`);
  }
}

/** Orders a part of the value that `path` leads to. */
function at(step: string | number, schema: SchemaNode, part: unknown, path: Array<string | number>): unknown {
  path.push(step);
  const ordered = order(schema, part, path);
  path.pop();
  return ordered;
}

function show([root, ...steps]: ReadonlyArray<string | number>): string {
  return `${root}${steps.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')}`;
}
