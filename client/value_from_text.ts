import { kindOfNode, resolve } from '../protocol/schema_walk.js';
import type { SchemaNode } from '../schemas/generated/qmp.js';
import { parseJson } from './json_text.js';

const SUFFIXES: { readonly [suffix: string]: bigint | undefined } = {
  '': 1n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
};

const INTEGER = /^(-?)(\d{1,20}|0x[0-9a-f]{1,16})([KMGT]?)$/i;

/**
 * Reads a value as its schema says: a string as it is, true/false or on/off, an integer (decimal or 0x…, with K, M, G or T for powers
 * of 1024), a list of such as JSON or with commas between, anything else as JSON. Without a schema it is JSON if it can be, else a
 * string. Throws an Error that names it.
 */
export function valueFromText(unresolved: SchemaNode | undefined, name: string, text: string): unknown {
  const node = unresolved && resolve(unresolved);
  if (node === undefined || node['x-qapi'] === 'any') return guessed(text);
  if (node.oneOf || node.type === 'string') return text;
  if (node.anyOf) return alternate(node.anyOf, name, text);
  switch (node.type) {
    case 'boolean':
      if (text === 'true' || text === 'on') return true;
      if (text === 'false' || text === 'off') return false;
      throw new Error(`'${name}' must be true or false, not '${text}'`);
    case 'integer':
      return integer(name, text);
    case 'number':
      if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text);
      throw new Error(`'${name}' must be a number, not '${text}'`);
    case 'array':
      return text.startsWith('[') ? json(node, name, text) : list(node.items as SchemaNode, name, text);
    default:
      return json(node, name, text);
  }
}

/** The branch that can read the text; a string takes what no other does. */
function alternate(branches: readonly SchemaNode[], name: string, text: string): unknown {
  const [strings, others] = [true, false].map((wanted) =>
    branches.filter((branch) => (kindOfNode(branch) === 'string') === wanted),
  ) as [SchemaNode[], SchemaNode[]];
  for (const branch of others) {
    try {
      return valueFromText(branch, name, text);
    } catch (error) {
      if (branch === others.at(-1) && strings.length === 0) throw error;
    }
  }
  return text;
}

function integer(name: string, text: string): bigint {
  const match = INTEGER.exec(text);
  const unit = match && SUFFIXES[(match[3] as string).toUpperCase()];
  if (!unit) throw new Error(`'${name}' must be an integer, not '${text}'`);
  const value = BigInt(match[2] as string) * unit;
  return match[1] === '-' ? -value : value;
}

function list(items: SchemaNode, name: string, text: string): unknown[] {
  if (/^(array|object)$/.test(resolve(items).type ?? ''))
    throw new Error(`'${name}' must be a JSON array, not '${text}'`);
  return text === '' ? [] : text.split(',').map((each) => valueFromText(items, name, each));
}

function json({ type }: SchemaNode, name: string, text: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    throw new Error(`'${name}' must be JSON (${type}), not '${text}': ${(cause as Error).message}`, { cause });
  }
}

function guessed(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return text;
  }
}
