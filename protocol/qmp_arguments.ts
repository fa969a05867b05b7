import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import type { SchemaNode } from '../schemas/generated/qmp.js';
import { glibHashOrder } from './glib_hash_order.js';
import { isJsonObject, type JsonObject, type JsonValue, memberNames } from './json_value.js';
import { qdictOrder } from './json_writer.js';
import { genericError, type QmpError, texts } from './qmp_errors.js';
import { branchFor, kindOf, kindOfNode, memberOf, resolve } from './schema_walk.js';

/** Values an integer of a QAPI kind can take, and how a refusal names it. Kinds as in qapi/qapi-visit-core.c. */
interface IntegerKind {
  readonly unsigned: boolean;
  readonly min: bigint;
  readonly max: bigint;
  readonly name: string;
}

const INTEGERS: ReadonlyMap<string, IntegerKind> = new Map(
  (['int', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'size'] as const).map((kind) => {
    const bits = BigInt(/\d+$/.exec(kind)?.[0] ?? '64');
    const unsigned = kind.startsWith('u') || kind === 'size';
    const [min, max] = unsigned ? [0n, 2n ** bits - 1n] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n];
    return [kind, { unsigned, min, max, name: bits === 64n ? 'uint64' : `${kind}_t` }];
  }),
);

/** How a JSON value fares as an integer of a kind: its value, or which of QEMU's two refusals it meets. */
function readInteger(kind: IntegerKind, value: unknown): bigint | 'type' | 'range' {
  if (typeof value !== 'bigint') return 'type';
  if (kind.unsigned) {
    // A negative int64 is taken modulo 2^64, for old clients (qapi/qobject-input-visitor.c).
    const unsigned = BigInt.asUintN(64, value);
    return unsigned > kind.max ? 'range' : unsigned;
  }
  if (value > 2n ** 63n - 1n) return 'type';
  return value < kind.min || value > kind.max ? 'range' : value;
}

/** Keywords added to the schemas that ajv compiles. */
const INTEGER = 'x-integer';
const RANGE = 'x-range';
const NUMBER = 'x-number';
const KIND = 'x-kind';

let ajv: Ajv2020 | undefined;

function compiler(): Ajv2020 {
  if (ajv) return ajv;
  ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: false, logger: false });
  ajv.addKeyword({
    keyword: INTEGER,
    validate: (name: string, value: unknown) => typeof readInteger(integerKind(name), value) === 'bigint',
  });
  ajv.addKeyword({
    keyword: NUMBER,
    validate: (_: true, value: unknown) => typeof value === 'bigint' || typeof value === 'number',
  });
  ajv.addKeyword({
    keyword: KIND,
    validate: (kinds: readonly string[], value: unknown) => kinds.includes(kindOf(value)),
  });
  ajv.addKeyword({
    keyword: RANGE,
    validate: (node: SchemaNode, value: unknown) => {
      const number = readInteger(integerKind(node['x-qapi']), value);
      return typeof number === 'bigint' && inRange(node, number);
    },
  });
  return ajv;
}

function integerKind(name: string | undefined): IntegerKind {
  const kind = INTEGERS.get(name ?? '');
  if (!kind) throw new Error(`schema names the unknown integer kind '${name}'`);
  return kind;
}

function inRange({ minimum, maximum }: SchemaNode, value: bigint): boolean {
  return (minimum === undefined || value >= minimum) && (maximum === undefined || value <= maximum);
}

/**
 * The schema ajv is given for a node. It accepts what the node accepts, but as a chain of steps in the order in which
 * QEMU's input visitor takes them, so that the first step to fail is the refusal QEMU would send: each member in schema
 * order, present, then valid; then members that are unexpected. Integers are checked as bigint, and their kinds here, their
 * ranges in a second pass (`rangeSteps`), as QEMU's commands check them once all arguments are read.
 */
function visitSteps(unresolved: SchemaNode): object {
  const node = resolve(unresolved);
  if (node.oneOf) return { type: 'string', enum: node.oneOf.map((value) => value.const) };
  if (node.anyOf) {
    // QEMU looks at the value's type first (qapi's visit_start_alternate), then reads the branch that has it.
    return { allOf: [{ [KIND]: node.anyOf.map(kindOfNode) }, ...eachBranch(node.anyOf, visitSteps)] };
  }
  if (node['x-qapi'] === 'any') return {};
  switch (node.type) {
    case 'integer':
      return { [INTEGER]: node['x-qapi'] };
    case 'number':
      return { [NUMBER]: true };
    case 'array':
      return { type: 'array', items: visitSteps(node.items as SchemaNode) };
    case 'object': {
      const known = names(node);
      return {
        type: 'object',
        allOf: [
          ...memberSteps(node),
          eachVariant(node, onlyKnown(known), (variant) => ({
            allOf: [...memberSteps(variant), onlyKnown([...known, ...names(variant)])],
          })),
        ],
      };
    }
    default:
      return { type: node.type };
  }
}

const names = (node: SchemaNode): string[] => Object.keys(node.properties ?? {});

function memberSteps(node: SchemaNode): object[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, member]) => [
    ...(node.required?.includes(name) ? [{ required: [name] }] : []),
    { properties: { [name]: visitSteps(member) } },
  ]);
}

function onlyKnown(known: readonly string[]): object {
  return { properties: Object.fromEntries(known.map((name) => [name, true])), additionalProperties: false };
}

/** A step taken only by values that meet a condition. */
function when(condition: object, step: object | true, otherwise: object | true = true): object {
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  return { if: condition, then: step, else: otherwise };
}

/** The steps of the branch that a value's type chooses. */
function eachBranch(branches: readonly SchemaNode[], steps: (branch: SchemaNode) => object | true): object[] {
  return branches.map((branch) => when({ [KIND]: [kindOfNode(branch)] }, steps(branch)));
}

/** The steps of the variant that an object's discriminator chooses; `otherwise` where there is none. */
function eachVariant(node: SchemaNode, otherwise: object | true, steps: (variant: SchemaNode) => object | true) {
  const tag = node['x-discriminator'] ?? '';
  return Object.entries(node['x-variants'] ?? {}).reduceRight<object | true>(
    (more, [value, variant]) => when({ properties: { [tag]: { const: value } } }, steps(resolve(variant)), more),
    otherwise,
  );
}

/** The second pass: ranges of integers, in schema order. True when the node has none. */
function rangeSteps(unresolved: SchemaNode): object | true {
  const node = resolve(unresolved);
  if (node.type === 'integer') {
    return node.minimum === undefined && node.maximum === undefined ? true : { [RANGE]: node };
  }
  if (node.anyOf) return { allOf: eachBranch(node.anyOf, rangeSteps) };
  if (node.type === 'array') {
    const items = rangeSteps(node.items as SchemaNode);
    return items === true ? true : { items };
  }
  if (node.type !== 'object') return true;
  const steps: object[] = Object.entries(node.properties ?? {})
    .map(([name, member]) => ({ properties: { [name]: rangeSteps(member) } }))
    .filter((step) => Object.values(step.properties)[0] !== true);
  const variant = eachVariant(node, true, rangeSteps);
  if (variant !== true) steps.push(variant);
  return steps.length ? { allOf: steps } : true;
}

/**
 * Reads the arguments of one command: `read(args)` returns them with integers in the form that the generated types
 * give (see schemas/generate.mjs), or throws the QmpError that QEMU 7.2 would send. The validator is compiled at its
 * first use.
 */
export function argumentReader(schema: SchemaNode): (args: JsonObject) => { [name: string]: unknown } {
  let validate: ValidateFunction | undefined;
  return (args) => {
    validate ??= compiler().compile({ allOf: [visitSteps(schema), rangeSteps(schema)] });
    if (!validate(args)) throw refusal(schema, args, (validate.errors as ErrorObject[])[0] as ErrorObject);
    return convert(schema, args) as { [name: string]: unknown };
  };
}

/** The one place where a failure of validation becomes a text of QEMU's. */
function refusal(schema: SchemaNode, args: JsonObject, error: ErrorObject): QmpError {
  const { path, name, declared, value } = locate(schema, args, error.instancePath);
  const node = branchFor(declared, value);
  const member = (key: string): string => (path ? `${path}.${key}` : key);
  switch (error.keyword) {
    case 'required':
      return genericError(texts.missing(member(error.params.missingProperty)));
    case 'additionalProperties':
      return genericError(texts.unexpected(member(firstUnexpected(node, value as JsonObject))));
    case 'enum':
      // The name alone, without its path; an item of a list has none, and C prints that as null.
      return genericError(texts.notAccepted(name, String(value)));
    case INTEGER: {
      const kind = integerKind(node['x-qapi']);
      if (readInteger(kind, value) === 'range') return genericError(texts.expects(name, kind.name));
      if (kind.unsigned) return genericError(texts.expects(path, 'uint64'));
      return genericError(texts.wrongType(path, 'integer'));
    }
    case RANGE:
      return genericError(texts.expects(path, rangeText(node)));
    case KIND:
      // An alternate is told by its type's name, again without the path.
      return genericError(texts.wrongType(name, declared.title as string));
    case NUMBER:
      return genericError(texts.wrongType(path, 'number'));
    case 'type':
      return genericError(texts.wrongType(path, error.params.type));
    default:
      return genericError(`Parameter '${path}' is not valid: ${error.message}`);
  }
}

/** QEMU keeps an object's members in a hash table, and tells of the first left in it (qapi/qobject-input-visitor.c). */
function firstUnexpected(node: SchemaNode, value: JsonObject): string {
  const members = glibHashOrder(qdictOrder(memberNames(value)));
  return members.find((name) => memberOf(node, value, name) === undefined) as string;
}

function rangeText({ minimum, maximum }: SchemaNode): string {
  if (minimum === undefined) return `a value of at most ${maximum}`;
  return maximum === undefined ? `a value of at least ${minimum}` : `a value between ${minimum} and ${maximum}`;
}

/** Walks a JSON pointer into the arguments and their schema; the path is written as QEMU does, `a[0].b`. */
function locate(
  schema: SchemaNode,
  args: JsonObject,
  pointer: string,
): { path: string; name: string; declared: SchemaNode; value: JsonValue } {
  let declared = resolve(schema);
  let value: JsonValue = args;
  let path = '';
  let name = 'null';
  for (const segment of pointer.split('/').slice(1)) {
    const key = segment.replaceAll('~1', '/').replaceAll('~0', '~');
    const node = branchFor(declared, value);
    if (Array.isArray(value)) {
      value = value[Number(key)] as JsonValue;
      declared = resolve(node.items as SchemaNode);
      path += `[${key}]`;
      name = 'null';
    } else {
      declared = resolve(memberOf(node, value as JsonObject, key) as SchemaNode);
      value = (value as JsonObject)[key] as JsonValue;
      path += path ? `.${key}` : key;
      name = key;
    }
  }
  return { path, name, declared, value };
}

/** Converts valid arguments: integers to `number` or `bigint` by the rule of the generated types. */
function convert(unresolved: SchemaNode, value: JsonValue): unknown {
  const node = branchFor(unresolved, value);
  if (node.type === 'integer') {
    const number = readInteger(integerKind(node['x-qapi']), value) as bigint;
    return isSafeInteger(node) ? Number(number) : number;
  }
  if (node.type === 'number') return Number(value);
  if (node['x-qapi'] === 'any') return value;
  if (Array.isArray(value)) return value.map((item) => convert(node.items as SchemaNode, item));
  if (isJsonObject(value) && node.properties) {
    const object: { [name: string]: unknown } = {};
    for (const name of Object.keys(value))
      object[name] = convert(memberOf(node, value, name) as SchemaNode, value[name] as JsonValue);
    return object;
  }
  return value;
}

/** The rule of schemas/generate.mjs: kept within ±(2^53 - 1) by kind or by bounds. */
function isSafeInteger(node: SchemaNode): boolean {
  const narrow = /(8|16|32)$/.test(node['x-qapi'] ?? '');
  return narrow || (Number.isSafeInteger(node.minimum) && Number.isSafeInteger(node.maximum));
}
