/** What the Tab key offers in the shell, from the schemas. */
import { commandSchema, nodeInside } from '../../client/arguments_from_text.js';
import { resolve } from '../../protocol/schema_walk.js';
import type { SchemaNode } from '../../schemas/generated/qmp.js';
import { JOB_NAMES } from './jobs.js';
import { splitLine } from './words.js';

/** Words that the shell itself understands. */
export const SHELL_WORDS = ['help', 'exit'];

/**
 * What can stand at the end of a line.
 * @param commands that the server knows
 * @returns candidates, and the part of the line that each of them would replace
 */
export function complete(line: string, commands: readonly string[]): [string[], string] {
  const { words, lastAt, open } = splitLine(line);
  const last = line.slice(lastAt);
  if (open !== undefined) return [[], last];
  const before = last === '' ? words : words.slice(0, -1);
  const [command, ...given] = before;
  let candidates: string[];
  if (command === undefined) candidates = [...SHELL_WORDS, ...commands];
  else if (command === 'help') candidates = given.length === 0 ? [...commands] : [];
  else if (last.includes('=')) candidates = values(command, last);
  else candidates = argumentNames(command, last, given);
  const found = candidates.filter((candidate) => candidate.startsWith(last)).toSorted();
  // A blank after a word that is whole; none where a value or a member follows.
  return [found.map((each) => (/[=.]$/.test(each) ? each : `${each} `)), last];
}

/** `name=` for every argument that is not given yet, `name.` for an object; below `name.` its members; and the options of jobs. */
function argumentNames(command: string, last: string, given: readonly string[]): string[] {
  const path = last.split('.').slice(0, -1);
  const node = walk(commandSchema(command)?.arguments, path);
  const prefix = path.map((name) => `${name}.`).join('');
  const taken = new Set(given.map((word) => word.split('=')[0]));
  const names = members(node).flatMap(([name, inner]) => {
    const whole = `${prefix}${name}`;
    if (taken.has(whole)) return [];
    return resolve(inner).type === 'object' ? [`${whole}.`, `${whole}=`] : [`${whole}=`];
  });
  const options = ['--wait', '--progress'].filter((option) => JOB_NAMES.includes(command) && !given.includes(option));
  return path.length > 0 ? names : [...names, ...options];
}

/** `name=value` for every value of an enum or boolean, and for each item of a list of such. */
function values(command: string, last: string): string[] {
  const at = last.indexOf('=');
  const node = walk(commandSchema(command)?.arguments, last.slice(0, at).split('.'));
  const list = node?.type === 'array';
  const [, head = '', items = ''] = /^(.*,)?(.*)$/s.exec(last.slice(at + 1)) ?? [];
  if (!list && head !== '') return [];
  const item = list && node.items ? resolve(node.items) : node;
  return items.startsWith('[') || item === undefined
    ? []
    : constants(item).map((each) => `${last.slice(0, at + 1)}${head}${each}`);
}

function constants(node: SchemaNode): string[] {
  if (node.type === 'boolean') return ['true', 'false'];
  if (node.anyOf) return node.anyOf.flatMap((branch) => constants(resolve(branch)));
  return node.oneOf?.map((value) => value.const) ?? [];
}

function walk(root: SchemaNode | undefined, path: readonly string[]): SchemaNode | undefined {
  const node = path.reduce(nodeInside, root);
  return node && resolve(node);
}

/** The members of an object, those of a flat union's variants too. */
function members(node: SchemaNode | undefined): [string, SchemaNode][] {
  if (!node) return [];
  const places = [node, ...Object.values(node['x-variants'] ?? {}).map(resolve)];
  return Object.entries(Object.assign({}, ...places.map(({ properties }) => properties)));
}
