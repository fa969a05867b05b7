/**
 * A JSON value as it travels on a QMP socket. JSON integers are `bigint` when read, so that all of int64 and uint64 is
 * exact and `300` stays distinct from `300.0`; JSON doubles are `number`. A writer takes integers in either form.
 * Objects read from the wire have no prototype: a hostile `__proto__` is a member like any other.
 */
export type JsonValue = null | boolean | bigint | number | string | JsonValue[] | JsonObject;

export interface JsonObject {
  [member: string]: JsonValue;
}

/**
 * Members in order of insertion, kept beside an object whose names include array indices: JavaScript moves such names to
 * the front, and QEMU's member order depends on the order of insertion where hash buckets collide.
 */
export const MEMBER_ORDER: unique symbol = Symbol('order of members');

/** Matches the names JavaScript treats as array indices. */
const ARRAY_INDEX = /^(?:0|[1-9][0-9]{0,9})$/;

/** True for a JSON object: neither null nor an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Builds an object from members in order. */
export function jsonObject(members: ReadonlyArray<readonly [string, JsonValue]>): JsonObject {
  const object: JsonObject = Object.create(null);
  let reordered = false;
  for (const [name, value] of members) {
    object[name] = value;
    reordered ||= ARRAY_INDEX.test(name);
  }
  if (reordered) {
    Object.defineProperty(object, MEMBER_ORDER, { value: members.map(([name]) => name), enumerable: false });
  }
  return object;
}

/** The names of an object's members in order of insertion. */
export function memberNames(object: object): readonly string[] {
  return (object as { [MEMBER_ORDER]?: readonly string[] })[MEMBER_ORDER] ?? Object.keys(object);
}

/** A JSON value in plain JavaScript form: integers are `number` when that is exact, `bigint` otherwise. */
export type PlainValue = null | boolean | number | bigint | string | PlainValue[] | { [member: string]: PlainValue };

/** Converts a value read from the wire to its plain form, for use by a client. */
export function toPlain(value: JsonValue): PlainValue {
  if (typeof value === 'bigint') {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }
  if (Array.isArray(value)) return value.map(toPlain);
  if (isJsonObject(value)) {
    const plain: { [member: string]: PlainValue } = Object.create(null);
    for (const name of Object.keys(value)) plain[name] = toPlain(value[name] as JsonValue);
    return plain;
  }
  return value;
}
