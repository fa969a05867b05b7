import { resolve } from '../protocol/schema_walk.js';
import { COMMANDS, type CommandName, type SchemaNode } from '../schemas/generated/qmp.js';

const SUFFIXES: { readonly [suffix: string]: bigint | undefined } = {
  '': 1n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
};

/**
 * Reads the arguments of a command written as `name=value` words. The schema says how a value is read: a string as it is,
 * true/false or on/off, an integer (with K, M, G or T for powers of 1024), anything else as JSON. Throws an Error that
 * names the word.
 */
export function argumentsFromText(command: string, words: readonly string[]): { [name: string]: unknown } {
  const schema = Object.hasOwn(COMMANDS, command) ? COMMANDS[command as CommandName].arguments : undefined;
  const args: { [name: string]: unknown } = {};
  for (const word of words) {
    const at = word.indexOf('=');
    if (at < 1) throw new Error(`'${word}' is not of the form NAME=VALUE`);
    const name = word.slice(0, at);
    if (Object.hasOwn(args, name)) throw new Error(`'${name}' is given twice`);
    const node = schema?.properties && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    const value = node ? typed(resolve(node), name, word.slice(at + 1)) : guessed(word.slice(at + 1));
    Object.defineProperty(args, name, { value, enumerable: true, writable: true, configurable: true });
  }
  return args;
}

function typed(node: SchemaNode, name: string, text: string): unknown {
  if (node.oneOf || node.type === 'string') return text;
  if (node.type === 'boolean') {
    if (text === 'true' || text === 'on') return true;
    if (text === 'false' || text === 'off') return false;
    throw new Error(`'${name}' must be true or false, not '${text}'`);
  }
  if (node.type === 'integer') {
    const match = /^(-?\d{1,20})([KMGT]?)$/i.exec(text);
    const unit = match && SUFFIXES[(match[2] as string).toUpperCase()];
    if (!unit) throw new Error(`'${name}' must be an integer, not '${text}'`);
    return BigInt(match[1] as string) * unit;
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`'${name}' must be JSON (${node.type}), not '${text}'`, { cause });
  }
}

/** A value the schemas do not know: JSON if it is that, else a string. */
function guessed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
