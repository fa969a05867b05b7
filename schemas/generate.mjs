#!/usr/bin/env node
// Reads the JSON Schemas of commands/, events/ and types/ beside this file and writes generated/qmp.ts: the TypeScript
// types of every QMP command, event and type, and the schemas themselves as constants. Plain Node, so that it can run
// before anything is compiled. A schema that is not well formed, or a member without a description, ends it with
// exit code 1 and one line per fault.
//
// The rule for integers: a member is a `number` when its schema keeps it within ±(2^53 - 1), by an 8-, 16- or 32-bit
// x-qapi kind or by a minimum and a maximum. Every other integer is a `bigint` in arguments (what a handler is given is
// then always exact) and `number | bigint` in returns, events and named types (the writer prints both exactly).
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const INTEGER_KINDS = ['int', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'size'];
const SCALARS = ['string', 'boolean', 'number', 'integer'];
const DIALECT = 'https://json-schema.org/draft/2020-12/schema';
const KEYWORDS = {
  node: ['description', 'type', 'x-qapi', 'minimum', 'maximum', 'x-range-error', '$ref', 'items', 'oneOf'],
  object: ['description', 'type', 'additionalProperties', 'properties', 'required'],
  commands: ['$schema', 'title', 'description', 'arguments', 'returns', 'x-allow-oob'],
  events: ['$schema', 'title', 'description', 'data'],
};
const REF = /^\.\.\/types\/([A-Za-z0-9]+)\.json$/;

/** Loads and checks every schema below `root`; returns {commands, events, types} by name, and the faults found. */
export function loadSchemas(root) {
  const faults = [];
  const sets = { commands: {}, events: {}, types: {} };
  for (const [kind, set] of Object.entries(sets)) {
    for (const file of readdirSync(join(root, kind)).sort()) {
      const at = `${kind}/${file}`;
      if (!file.endsWith('.json')) {
        faults.push(`${at}: not a JSON Schema file`);
        continue;
      }
      const name = file.slice(0, -'.json'.length);
      try {
        set[name] = JSON.parse(readFileSync(join(root, kind, file), 'utf8'));
      } catch (error) {
        faults.push(`${at}: ${error.message}`);
        continue;
      }
      if (set[name].title !== name) faults.push(`${at}: title must be '${name}'`);
      if (set[name].$schema !== DIALECT) faults.push(`${at}: $schema must be ${DIALECT}`);
    }
  }
  const check = new Checker(sets.types, faults);
  for (const [name, schema] of Object.entries(sets.types)) {
    const { $schema, title, ...node } = schema;
    check.documented(schema, `types/${name}`);
    check.node(node, `types/${name}`);
  }
  for (const [name, schema] of Object.entries(sets.commands)) {
    const at = `commands/${name}`;
    check.documented(schema, at);
    check.keywords(schema, KEYWORDS.commands, at);
    if (schema.arguments?.type !== 'object') faults.push(`${at}: arguments must be an object schema`);
    else check.node(schema.arguments, `${at}.arguments`);
    if (schema.returns) check.node(schema.returns, `${at}.returns`);
  }
  for (const [name, schema] of Object.entries(sets.events)) {
    const at = `events/${name}`;
    check.documented(schema, at);
    check.keywords(schema, KEYWORDS.events, at);
    if (schema.data) check.node(schema.data, `${at}.data`);
  }
  return { ...sets, faults };
}

/** Checks one schema node after another, collecting faults as `where: what`. */
class Checker {
  constructor(types, faults) {
    this.types = types;
    this.faults = faults;
  }

  documented(node, at) {
    if (typeof node.description !== 'string' || node.description.trim() === '') {
      this.faults.push(`${at}: has no description`);
    }
  }

  keywords(node, allowed, at) {
    for (const key of Object.keys(node)) {
      if (!allowed.includes(key)) this.faults.push(`${at}: unknown keyword '${key}'`);
    }
  }

  node(node, at) {
    if (node.$ref !== undefined) {
      const name = REF.exec(node.$ref)?.[1];
      if (!name || !Object.hasOwn(this.types, name)) this.faults.push(`${at}: $ref '${node.$ref}' names no type`);
    } else if (node.oneOf) {
      for (const value of node.oneOf) {
        if (typeof value.const !== 'string') this.faults.push(`${at}: oneOf must list string constants`);
        this.documented(value, `${at}='${value.const}'`);
      }
    } else if (node.type === 'object') {
      this.object(node, at);
      return;
    } else if (node.type === 'array') {
      if (!node.items) this.faults.push(`${at}: an array needs items`);
      else this.node(node.items, `${at}[]`);
    } else if (!SCALARS.includes(node.type)) {
      this.faults.push(`${at}: unknown type '${node.type}'`);
    }
    if (node.type === 'integer' && !INTEGER_KINDS.includes(node['x-qapi'])) {
      this.faults.push(`${at}: an integer needs x-qapi, one of ${INTEGER_KINDS.join(', ')}`);
    }
    this.keywords(node, KEYWORDS.node, at);
  }

  object(node, at) {
    this.keywords(node, KEYWORDS.object, at);
    if (node.additionalProperties === undefined) {
      this.faults.push(`${at}: additionalProperties must be false or a schema`);
    } else if (node.additionalProperties !== false) {
      this.documented(node.additionalProperties, `${at}.*`);
      this.node(node.additionalProperties, `${at}.*`);
    }
    const properties = node.properties ?? {};
    for (const [name, member] of Object.entries(properties)) {
      this.documented(member, `${at}.${name}`);
      this.node(member, `${at}.${name}`);
    }
    for (const name of node.required ?? []) {
      if (!Object.hasOwn(properties, name)) this.faults.push(`${at}: required '${name}' is not a member`);
    }
  }
}

/** True when the schema keeps an integer within ±(2^53 - 1). */
function isSafeInteger(node) {
  if (/(8|16|32)$/.test(node['x-qapi'])) return true;
  return Number.isSafeInteger(node.minimum) && Number.isSafeInteger(node.maximum);
}

const quote = (name) => `'${name.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

/** The TypeScript type of a node; `wide` is the type of an integer that may exceed 2^53. */
function typeOf(node, wide, indent = '') {
  if (node.$ref) return REF.exec(node.$ref)[1];
  if (node.oneOf) return node.oneOf.map((value) => quote(value.const)).join(' | ');
  switch (node.type) {
    case 'integer':
      return isSafeInteger(node) ? 'number' : wide;
    case 'array': {
      const items = typeOf(node.items, wide, indent);
      return /[ {]/.test(items) ? `Array<${items}>` : `${items}[]`;
    }
    case 'object':
      return objectType(node, wide, indent);
    default:
      return node.type;
  }
}

function objectType(node, wide, indent) {
  const inner = `${indent}  `;
  const lines = Object.entries(node.properties ?? {}).map(([name, member]) => {
    const optional = node.required?.includes(name) ? '' : '?';
    return `${inner}/** ${member.description} */\n${inner}${quote(name)}${optional}: ${typeOf(member, wide, inner)};`;
  });
  if (node.additionalProperties !== false) {
    lines.push(`${inner}[name: string]: ${typeOf(node.additionalProperties, wide, inner)};`);
  }
  return lines.length ? `{\n${lines.join('\n')}\n${indent}}` : 'Record<string, never>';
}

const table = (name, type, set) => {
  const rows = Object.keys(set).map((key) => `  ${quote(key)}: ${JSON.stringify(set[key])},`);
  return `export const ${name}: ${type} = {\n${rows.join('\n')}\n};`;
};

const PREAMBLE = `// Generated by schemas/generate.mjs from the JSON Schemas beside it. Do not edit.

/** A member, item or type: the JSON Schema subset that the schema files use. */
export interface SchemaNode {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: 'string' | 'boolean' | 'number' | 'integer' | 'array' | 'object';
  /** QAPI kind of an integer. */
  readonly 'x-qapi'?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** Words of the refusal of a value outside minimum..maximum, where QEMU has its own. */
  readonly 'x-range-error'?: { readonly name: string; readonly expects: string };
  readonly $ref?: string;
  readonly items?: SchemaNode;
  readonly oneOf?: ReadonlyArray<{ readonly const: string; readonly description: string }>;
  readonly properties?: { readonly [name: string]: SchemaNode };
  readonly required?: readonly string[];
  readonly additionalProperties?: false | SchemaNode;
}

export interface CommandSchema {
  readonly $schema?: string;
  readonly title: string;
  readonly description: string;
  readonly arguments: SchemaNode;
  readonly returns?: SchemaNode;
  readonly 'x-allow-oob'?: boolean;
}

export interface EventSchema {
  readonly $schema?: string;
  readonly title: string;
  readonly description: string;
  readonly data?: SchemaNode;
}
`;

/** The text of generated/qmp.ts. */
export function generate({ commands, events, types }) {
  const parts = [PREAMBLE];
  for (const [name, schema] of Object.entries(types)) {
    const text = typeOf(schema, 'number | bigint');
    const body = schema.type === 'object' ? `export interface ${name} ${text}` : `export type ${name} = ${text};`;
    parts.push(`/** ${schema.description} */\n${body}\n`);
  }
  const member = (name, description, type) => `  /** ${description} */\n  ${quote(name)}: ${type};`;
  const map = (title, set, type) =>
    parts.push(
      `export interface ${title} {\n${Object.entries(set)
        .map(([name, s]) => member(name, s.description, type(s)))
        .join('\n')}\n}\n`,
    );
  map('CommandArgumentsMap', commands, (s) => typeOf(s.arguments, 'bigint', '  '));
  map('CommandReturnsMap', commands, (s) => (s.returns ? typeOf(s.returns, 'number | bigint', '  ') : 'void'));
  map('EventDataMap', events, (s) => (s.data ? typeOf(s.data, 'number | bigint', '  ') : 'undefined'));
  parts.push(
    'export type CommandName = keyof CommandArgumentsMap;',
    'export type CommandArguments<C extends CommandName> = CommandArgumentsMap[C];',
    'export type CommandReturns<C extends CommandName> = CommandReturnsMap[C];',
    'export type EventName = keyof EventDataMap;',
    'export type EventData<E extends EventName> = EventDataMap[E];\n',
    table('COMMANDS', '{ readonly [C in CommandName]: CommandSchema }', commands),
    table('EVENTS', '{ readonly [E in EventName]: EventSchema }', events),
    table('TYPES', '{ readonly [name: string]: SchemaNode }', types),
  );
  return `${parts.join('\n')}\n`;
}

function main() {
  const root = dirname(fileURLToPath(import.meta.url));
  const schemas = loadSchemas(root);
  if (schemas.faults.length) {
    for (const fault of schemas.faults) console.error(`schemas: ${fault}`);
    return 1;
  }
  mkdirSync(join(root, 'generated'), { recursive: true });
  writeFileSync(join(root, 'generated', 'qmp.ts'), generate(schemas));
  return 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) process.exitCode = main();
