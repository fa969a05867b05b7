import { isJsonObject } from '../protocol/json_value.js';
import { resolve } from '../protocol/schema_walk.js';
import { COMMANDS, type CommandName, type CommandSchema, type SchemaNode } from '../schemas/generated/qmp.js';
import { parseJson } from './json_text.js';
import { valueFromText } from './value_from_text.js';

type Container = { [name: string]: unknown } | unknown[];

/** A word that gives an argument, or a part of one: `name=value`, `name.member=value`, `name.0.member=value`. */
const NAMED = /^([A-Za-z_][\w-]*(?:\.[\w-]+)*)=(.*)$/s;
const INDEX = /^\d{1,4}$/;

/** What the schemas know of a command; undefined for one that they do not. */
export function commandSchema(command: string): CommandSchema | undefined {
  return Object.hasOwn(COMMANDS, command) ? COMMANDS[command as CommandName] : undefined;
}

/** The schema of what a name means inside a node: a member, a variant's too, or an item. Undefined where the schemas do not know. */
export function nodeInside(unresolved: SchemaNode | undefined, name: string): SchemaNode | undefined {
  const node = unresolved && resolve(unresolved);
  if (!node) return undefined;
  if (node.type === 'array') return node.items;
  const places = [node, ...Object.values(node['x-variants'] ?? {}).map(resolve), ...(node.anyOf ?? []).map(resolve)];
  for (const { properties } of places) if (properties && Object.hasOwn(properties, name)) return properties[name];
  return node.additionalProperties || undefined;
}

/**
 * Reads the arguments of a command from words: `name=value`, with `name.member=` and `name.0=` for parts of objects and lists; a word
 * without a name is the first required argument that has no value yet; and a JSON object as the only word is all of them. The schema says
 * how a value is read (see valueFromText). Throws an Error that names the word.
 */
export function argumentsFromText(command: string, words: readonly string[]): { [name: string]: unknown } {
  const [first = '', ...more] = words;
  if (more.length === 0 && first.startsWith('{')) return object(first);
  const schema = commandSchema(command)?.arguments;
  const args: { [name: string]: unknown } = Object.create(null);
  for (const word of words) {
    const named = NAMED.exec(word);
    const path = named ? (named[1] as string) : schema?.required?.find((name) => !Object.hasOwn(args, name));
    if (path === undefined) throw new Error(`'${word}' is not of the form NAME=VALUE`);
    place(args, schema, path, named ? (named[2] as string) : word);
  }
  return args;
}

function object(text: string): { [name: string]: unknown } {
  try {
    const value = parseJson(text);
    if (isJsonObject(value)) return value as { [name: string]: unknown };
  } catch (cause) {
    throw new Error(`'${text}' is not a JSON object: ${(cause as Error).message}`, { cause });
  }
  throw new Error(`'${text}' is not a JSON object`);
}

/** Puts a value where its path says, and makes the objects and lists on the way. */
function place(args: Container, schema: SchemaNode | undefined, path: string, text: string): void {
  const names = path.split('.');
  const last = names.pop() as string;
  let container = args;
  let node = schema;
  names.forEach((name, depth) => {
    node = nodeInside(node, name);
    const inner = member(container, name, path);
    if (inner !== undefined && (typeof inner !== 'object' || inner === null)) {
      throw new Error(`'${path}' is a part of '${names.slice(0, depth + 1).join('.')}', which has a value already`);
    }
    const isList = node ? resolve(node).type === 'array' : INDEX.test(names[depth + 1] ?? last);
    container = (inner ?? set(container, name, isList ? [] : Object.create(null))) as Container;
  });
  if (member(container, last, path) !== undefined) throw new Error(`'${path}' is given twice`);
  set(container, last, valueFromText(nodeInside(node, last), path, text));
}

function member(container: Container, name: string, path: string): unknown {
  if (!Array.isArray(container)) return container[name];
  if (!INDEX.test(name)) throw new Error(`'${path}' must have an index in place of '${name}'`);
  if (Number(name) > container.length) throw new Error(`'${path}' skips the item before it`);
  return container[Number(name)];
}

function set(container: Container, name: string, value: unknown): unknown {
  if (Array.isArray(container)) container[Number(name)] = value;
  else container[name] = value;
  return value;
}
