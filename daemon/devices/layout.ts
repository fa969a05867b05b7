// Device state as named fields in shared memory, and as a document that a peer may have made up.

/** Types of a field; u64 is a bigint, all others are numbers. */
export type ScalarType = 'u8' | 'u16' | 'u32' | 'i32' | 'f64' | 'u64';
export type ElementType = Exclude<ScalarType, 'u64'>;

/** A scalar, an array of a fixed length, or a scalar whose legal values are fewer than its type has. */
export type FieldSpec =
  | ScalarType
  | readonly [ElementType, number]
  | { readonly type: ElementType; readonly min?: number; readonly max?: number };

export type FieldSpecs = Readonly<Record<string, FieldSpec>>;

interface ArrayTypes {
  u8: Uint8Array;
  u16: Uint16Array;
  u32: Uint32Array;
  i32: Int32Array;
  f64: Float64Array;
}

type FieldValue<S extends FieldSpec> = S extends 'u64'
  ? bigint
  : S extends readonly [infer E extends ElementType, number]
    ? ArrayTypes[E]
    : number;

/** State as saved: JSON-able, one member a field, and `version`. u64 values are `0x…` strings. */
export type DeviceState = Record<string, number | number[] | string>;

/** Fields as properties: reading and writing them reads and writes shared memory. Arrays are views of it. */
export type BoundFields<F extends FieldSpecs> = {
  -readonly [K in keyof F as F[K] extends readonly unknown[] ? never : K]: FieldValue<F[K]>;
} & {
  readonly [K in keyof F as F[K] extends readonly unknown[] ? K : never]: FieldValue<F[K]>;
} & {
  save(): DeviceState;
  /** Checks all of `doc`, then takes it over; on a DeviceStateError nothing has changed. */
  load(doc: unknown): void;
};

/** A saved state that cannot be taken over: which device, which field, and what is wrong with its value. */
export class DeviceStateError extends Error {
  override readonly name = 'DeviceStateError';
  readonly device: string;
  readonly field: string;

  constructor(device: string, field: string, problem: string) {
    super(`state of device ${device}: ${field} ${problem}`);
    this.device = device;
    this.field = field;
  }
}

const BYTES: Record<ScalarType, number> = { u8: 1, u16: 2, u32: 4, i32: 4, f64: 8, u64: 8 };
const MIN: Record<ElementType, number> = { u8: 0, u16: 0, u32: 0, i32: -(2 ** 31), f64: -Number.MAX_VALUE };
const MAX: Record<ElementType, number> = {
  u8: 0xff,
  u16: 0xffff,
  u32: 0xffff_ffff,
  i32: 2 ** 31 - 1,
  f64: Number.MAX_VALUE,
};
const RESERVED_NAMES = new Set(['version', 'save', 'load', '__proto__']);

interface Field {
  readonly name: string;
  readonly type: ScalarType;
  readonly offset: number;
  /** Elements of an array; undefined for a scalar. */
  readonly count: number | undefined;
  readonly min: number;
  readonly max: number;
}

/** A layout: what the fields are and where they lie. */
export interface Layout<F extends FieldSpecs> {
  readonly name: string;
  readonly version: number;
  /** Bytes of shared memory, a multiple of 8. */
  readonly byteLength: number;
  /** Fields at `byteOffset`, which is a multiple of 8. Any number of threads may bind the same memory. */
  bind(buffer: SharedArrayBuffer, byteOffset: number): BoundFields<F>;
}

/** The fields of a layout, bound. */
export type Bound<L> = L extends Layout<infer F> ? BoundFields<F> : never;

/**
 * Describes a device's state. A change of fields or of their meaning needs a new `version`; a document of another
 * version is refused.
 */
export function defineLayout<const F extends FieldSpecs>(options: {
  readonly name: string;
  readonly version: number;
  readonly fields: F;
}): Layout<F> {
  const { name, version } = options;
  const fields: Field[] = [];
  let offset = 0;
  for (const [fieldName, spec] of Object.entries(options.fields)) {
    if (RESERVED_NAMES.has(fieldName)) {
      throw new TypeError(`the layout of ${name} cannot have a field named ${fieldName}`);
    }
    const field = placeField(fieldName, spec, offset);
    fields.push(field);
    offset = field.offset + BYTES[field.type] * (field.count ?? 1);
  }
  const byteLength = Math.ceil(offset / 8) * 8;
  return {
    name,
    version,
    byteLength,
    bind: (buffer, byteOffset) => bind(name, version, fields, byteLength, buffer, byteOffset) as BoundFields<F>,
  };
}

function placeField(name: string, spec: FieldSpec, end: number): Field {
  const type = typeof spec === 'string' ? spec : 'type' in spec ? spec.type : spec[0];
  const count = typeof spec === 'object' && !('type' in spec) ? spec[1] : undefined;
  const limits: { min?: number; max?: number } = typeof spec === 'object' && 'type' in spec ? spec : {};
  const bytes = BYTES[type];
  return {
    name,
    type,
    count,
    offset: Math.ceil(end / bytes) * bytes,
    min: limits.min ?? (type === 'u64' ? 0 : MIN[type]),
    max: limits.max ?? (type === 'u64' ? 0 : MAX[type]),
  };
}

type View = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;

function viewOf(type: ElementType, buffer: SharedArrayBuffer, at: number, count: number): View {
  switch (type) {
    case 'u8':
      return new Uint8Array(buffer, at, count);
    case 'u16':
      return new Uint16Array(buffer, at, count);
    case 'u32':
      return new Uint32Array(buffer, at, count);
    case 'i32':
      return new Int32Array(buffer, at, count);
    case 'f64':
      return new Float64Array(buffer, at, count);
  }
}

function bind(
  device: string,
  version: number,
  fields: readonly Field[],
  byteLength: number,
  buffer: SharedArrayBuffer,
  byteOffset: number,
): object {
  if (byteOffset % 8 !== 0 || byteOffset < 0 || byteOffset + byteLength > buffer.byteLength) {
    throw new RangeError(`the state of ${device} (${byteLength} bytes) cannot lie at ${byteOffset}`);
  }
  const bound = {};
  const codecs: { field: Field; save: () => number | number[] | string; store: (value: never) => void }[] = [];
  for (const field of fields) {
    const at = byteOffset + field.offset;
    if (field.type === 'u64') {
      const view = new BigUint64Array(buffer, at, 1);
      defineScalar(bound, field.name, view);
      codecs.push({ field, save: () => `0x${view[0]!.toString(16)}`, store: (v) => void (view[0] = v) });
      continue;
    }
    const view = viewOf(field.type, buffer, at, field.count ?? 1);
    if (field.count === undefined) {
      defineScalar(bound, field.name, view);
      codecs.push({ field, save: () => view[0]!, store: (v) => void (view[0] = v) });
    } else {
      Object.defineProperty(bound, field.name, { value: view, enumerable: true });
      codecs.push({ field, save: () => Array.from(view), store: (v) => view.set(v) });
    }
  }
  const known = new Set(['version', ...fields.map((f) => f.name)]);
  return Object.defineProperties(bound, {
    save: {
      value: (): DeviceState => ({ version, ...Object.fromEntries(codecs.map((c) => [c.field.name, c.save()])) }),
    },
    load: {
      value: (doc: unknown): void => {
        const members = checkDocument(device, version, known, doc);
        const values = codecs.map((c) => parseField(device, c.field, members[c.field.name]));
        for (const [i, codec] of codecs.entries()) {
          codec.store(values[i] as never);
        }
      },
    },
  });
}

function defineScalar(bound: object, name: string, view: View | BigUint64Array): void {
  Object.defineProperty(bound, name, {
    get: () => view[0],
    set: (value: never) => {
      view[0] = value;
    },
    enumerable: true,
  });
}

function checkDocument(
  device: string,
  version: number,
  known: ReadonlySet<string>,
  doc: unknown,
): Readonly<Record<string, unknown>> {
  if (typeof doc !== 'object' || doc === null || Array.isArray(doc)) {
    throw new DeviceStateError(device, 'the document', `is not an object but ${show(doc)}`);
  }
  const members = new Map(Object.entries(doc));
  if (members.get('version') !== version) {
    throw new DeviceStateError(device, 'version', `is ${show(members.get('version'))}, this side knows ${version}`);
  }
  for (const name of members.keys()) {
    if (!known.has(name)) {
      throw new DeviceStateError(device, show(name), 'is not a field this side knows');
    }
  }
  for (const name of known) {
    if (!members.has(name)) {
      throw new DeviceStateError(device, name, 'is missing');
    }
  }
  return Object.fromEntries(members);
}

function parseField(device: string, field: Field, value: unknown): number | bigint | number[] {
  if (field.type === 'u64') {
    if (typeof value !== 'string' || !/^0x[0-9a-f]{1,16}$/.test(value)) {
      throw new DeviceStateError(device, field.name, `is not a 64-bit hexadecimal string but ${show(value)}`);
    }
    return BigInt(value);
  }
  if (field.count === undefined) {
    return parseNumber(device, field, field.name, value);
  }
  if (!Array.isArray(value) || value.length !== field.count) {
    throw new DeviceStateError(device, field.name, `is not an array of ${field.count} numbers but ${show(value)}`);
  }
  return Array.from(value, (element, i) => parseNumber(device, field, `${field.name}[${i}]`, element));
}

function parseNumber(device: string, field: Field, name: string, value: unknown): number {
  const kind = field.type === 'f64' ? 'a finite number' : 'an integer';
  if (typeof value !== 'number' || !(field.type === 'f64' ? Number.isFinite(value) : Number.isInteger(value))) {
    throw new DeviceStateError(device, name, `is not ${kind} but ${show(value)}`);
  }
  if (value < field.min || value > field.max) {
    throw new DeviceStateError(device, name, `is ${value}, not within ${field.min} and ${field.max}`);
  }
  return value;
}

/** A foreign value in an error text: short, whatever it is. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case 'number':
    case 'bigint':
    case 'boolean':
    case 'undefined':
      return String(value);
    default:
      return value === null ? 'null' : Array.isArray(value) ? `an array of ${value.length}` : `an ${typeof value}`;
  }
}
