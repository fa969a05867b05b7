// Loads the JSON Schemas of commands/, events/ and types/ beside this file and checks that they are well formed and that
// every member is described. The language, QAPI's notions in JSON Schema's words, is told in docs/decisions/0012.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const INTEGER_KINDS = ['int', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'size'];
const SCALARS = ['string', 'boolean', 'number', 'integer', 'null'];
const ERROR_CLASSES = ['GenericError', 'CommandNotFound', 'DeviceNotActive', 'DeviceNotFound', 'KVMMissingCap'];
const DIALECT = 'https://json-schema.org/draft/2020-12/schema';
/** What may stand beside anything: notes for the documentation and for query-qmp-schema. */
const NOTES = ['description', 'deprecated', 'x-features', 'x-differs'];
const KEYWORDS = {
  node: ['type', 'x-qapi', 'minimum', 'maximum', 'default', '$ref', 'items', 'oneOf', 'anyOf'],
  object: ['type', 'additionalProperties', 'properties', 'required', 'x-discriminator', 'x-variants', 'default'],
  value: ['const'],
  commands: ['$schema', 'title', 'arguments', 'returns', 'errors', 'x-allow-oob'],
  events: ['$schema', 'title', 'data'],
};
const REF = /^\.\.\/types\/([A-Za-z0-9]+)\.json$/;

/** The name of the type that a `$ref` names, or undefined. */
export function refName(ref) {
  return REF.exec(ref)?.[1];
}

/**
 * Sorts a set of schemas as QEMU 7.2 lists its commands and events (the order of its query-qmp-schema), and what QEMU does not
 * have last, by name.
 */
function inQemuOrder(set, order) {
  const place = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
  const names = Object.keys(set).sort((a, b) => place(a) - place(b));
  return Object.fromEntries(names.map((name) => [name, set[name]]));
}

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
    check.node(node, `types/${name}`, true);
    check.acyclic(name);
  }
  for (const [name, schema] of Object.entries(sets.commands)) {
    const at = `commands/${name}`;
    check.documented(schema, at);
    check.keywords(schema, KEYWORDS.commands, at);
    if (schema.arguments?.type !== 'object') faults.push(`${at}: arguments must be an object schema`);
    else check.node(schema.arguments, `${at}.arguments`);
    if (schema.returns) check.node(schema.returns, `${at}.returns`);
    for (const error of schema.errors ?? []) {
      if (!ERROR_CLASSES.includes(error.class)) faults.push(`${at}: unknown error class '${error.class}'`);
      check.documented(error, `${at}: error ${error.class}`);
    }
  }
  for (const [name, schema] of Object.entries(sets.events)) {
    const at = `events/${name}`;
    check.documented(schema, at);
    check.keywords(schema, KEYWORDS.events, at);
    if (schema.data) check.node(schema.data, `${at}.data`);
  }
  const order = JSON.parse(readFileSync(join(root, 'qemu_order.json'), 'utf8'));
  const { commands, events, types } = sets;
  return { commands: inQemuOrder(commands, order), events: inQemuOrder(events, order), types, faults };
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
      if (!allowed.includes(key) && !NOTES.includes(key)) this.faults.push(`${at}: unknown keyword '${key}'`);
    }
  }

  /** `named`: the node is a type of its own, which alternates must be, because QEMU's refusals name them. */
  node(node, at, named = false) {
    if (node.$ref !== undefined) {
      this.ref(node.$ref, at);
    } else if (node.oneOf) {
      for (const value of node.oneOf) {
        if (typeof value.const !== 'string') this.faults.push(`${at}: oneOf must list string constants`);
        this.documented(value, `${at}='${value.const}'`);
        this.keywords(value, KEYWORDS.value, `${at}='${value.const}'`);
      }
    } else if (node.anyOf) {
      if (!named) this.faults.push(`${at}: an alternate (anyOf) must be a type of its own`);
      for (const [i, branch] of node.anyOf.entries()) {
        this.documented(branch, `${at}|${i}`);
        this.node(branch, `${at}|${i}`);
      }
    } else if (node.type === 'object') {
      this.object(node, at);
      return;
    } else if (node.type === 'array') {
      if (!node.items) this.faults.push(`${at}: an array needs items`);
      else this.node(node.items, `${at}[]`);
    } else if (!SCALARS.includes(node.type) && !(node.type === undefined && node['x-qapi'] === 'any')) {
      this.faults.push(`${at}: unknown type '${node.type}'`);
    }
    if (node.type === 'integer' && !INTEGER_KINDS.includes(node['x-qapi'])) {
      this.faults.push(`${at}: an integer needs x-qapi, one of ${INTEGER_KINDS.join(', ')}`);
    }
    this.keywords(node, KEYWORDS.node, at);
  }

  /** Returns the type named, or undefined. */
  ref($ref, at) {
    const name = refName($ref);
    if (name && Object.hasOwn(this.types, name)) return this.types[name];
    this.faults.push(`${at}: $ref '${$ref}' names no type`);
    return undefined;
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
    if (node['x-discriminator'] !== undefined || node['x-variants'] !== undefined) this.union(node, at);
  }

  /** A flat union: more members by the value of a required member that is an enum. */
  union(node, at) {
    const tag = node['x-discriminator'];
    const member = node.properties?.[tag];
    const values = this.types[refName(member?.$ref)]?.oneOf?.map((value) => value.const);
    if (!values || !node.required?.includes(tag)) {
      this.faults.push(`${at}: x-discriminator '${tag}' must be a required member that refers to an enum`);
      return;
    }
    for (const [value, variant] of Object.entries(node['x-variants'] ?? {})) {
      if (!values.includes(value)) this.faults.push(`${at}: variant '${value}' is no value of '${tag}'`);
      const type = this.ref(variant.$ref, `${at}: variant '${value}'`);
      if (type && (type.type !== 'object' || type['x-variants'])) {
        this.faults.push(`${at}: variant '${value}' must be an object without variants`);
      }
      for (const name of Object.keys(type?.properties ?? {})) {
        if (Object.hasOwn(node.properties, name)) this.faults.push(`${at}: variant '${value}' has '${name}' again`);
      }
    }
  }

  /** Reports a type that contains itself. */
  acyclic(name, path = []) {
    if (path.includes(name)) {
      if (path[0] === name) this.faults.push(`types/${name}: contains itself, by ${[...path, name].join(' > ')}`);
      return;
    }
    const text = JSON.stringify(this.types[name] ?? {});
    for (const [, ref] of text.matchAll(/"\$ref":"\.\.\/types\/([A-Za-z0-9]+)\.json"/g)) {
      this.acyclic(ref, [...path, name]);
    }
  }
}
