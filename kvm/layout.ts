/**
 * Struct codecs over DataView, from a description by the kernel's member names. Little endian, explicit offsets by
 * natural alignment (`pad` members are written out as in the header). Decoding a struct by this is an order of
 * magnitude cheaper than by the FFI library's own decoder.
 *
 * Each struct also has a JSON form for state that travels: an object by the same member names, 64-bit values as `0x…` strings, bytes in base64.
 * Reading it back checks every member, since a peer may have written it.
 */

export type Scalar = 'u8' | 'u16' | 'u32' | 'u64' | 's64';
export type FieldType =
  | Scalar
  | Struct<unknown>
  | { array: Scalar | Struct<unknown>; length: number }
  | { bytes: number };

/** A codec for one C struct: `T` maps member names to numbers (up to 32 bits), bigints (64 bits), arrays or nested objects. */
export interface Struct<T> {
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly offsets: Readonly<Record<string, number>>;
  decode(view: DataView, at?: number): T;
  encode(value: T, view: DataView, at?: number): void;
  toJson(value: T): Record<string, unknown>;
  /** @throws LayoutError naming the member that is missing, superfluous or out of range */
  fromJson(json: unknown, path: string): T;
}

/** A JSON form that does not fit its struct. */
export class LayoutError extends Error {
  constructor(path: string, expected: string, value: unknown) {
    const text = value === undefined ? 'missing' : (JSON.stringify(value) ?? String(value));
    super(`${path} must be ${expected}, and is ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`);
    this.name = 'LayoutError';
  }
}

/** A JSON object's members. @throws LayoutError for anything else */
export function jsonObject(json: unknown, path: string): Record<string, unknown> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new LayoutError(path, 'an object', json);
  return json as Record<string, unknown>;
}

/** An unsigned integer up to `max`. */
export function jsonUint(json: unknown, path: string, max: number): number {
  if (!Number.isInteger(json) || (json as number) < 0 || (json as number) > max) {
    throw new LayoutError(path, `an integer from 0 to ${max}`, json);
  }
  return json as number;
}

/** A `0x…` string of up to 64 bits. */
export function jsonU64(json: unknown, path: string): bigint {
  if (typeof json !== 'string' || !/^0x[0-9a-f]{1,16}$/.test(json)) {
    throw new LayoutError(path, 'a 64-bit hexadecimal string', json);
  }
  return BigInt(json);
}

export const u64ToJson = (value: bigint): string => `0x${BigInt.asUintN(64, value).toString(16)}`;

/** Base64 of `min` to `max` bytes. */
export function jsonBytes(json: unknown, path: string, min: number, max: number): Uint8Array {
  const expected = min === max ? `${min} bytes in base64` : `${min} to ${max} bytes in base64`;
  if (typeof json !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(json)) throw new LayoutError(path, expected, json);
  const bytes = new Uint8Array(Buffer.from(json, 'base64'));
  if (bytes.length < min || bytes.length > max) throw new LayoutError(path, expected, json);
  return bytes;
}

export const bytesToJson = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');

/** A list of up to `max` elements. */
export function jsonArray(json: unknown, path: string, max: number): unknown[] {
  if (!Array.isArray(json) || json.length > max) throw new LayoutError(path, `a list of at most ${max} elements`, json);
  return json;
}

interface Codec {
  size: number;
  align: number;
  get(view: DataView, at: number): unknown;
  set(view: DataView, at: number, value: unknown): void;
  toJson(value: unknown): unknown;
  fromJson(json: unknown, path: string): unknown;
}

const small = (max: number) => ({
  toJson: (x: unknown) => x,
  fromJson: (json: unknown, path: string) => jsonUint(json, path, max),
});
const wide = (signed: boolean) => ({
  toJson: (x: unknown) => u64ToJson(x as bigint),
  fromJson: (json: unknown, path: string) => (signed ? BigInt.asIntN(64, jsonU64(json, path)) : jsonU64(json, path)),
});

const scalars: Record<Scalar, Codec> = {
  u8: {
    size: 1,
    align: 1,
    get: (v, at) => v.getUint8(at),
    set: (v, at, x) => v.setUint8(at, x as number),
    ...small(0xff),
  },
  u16: {
    size: 2,
    align: 2,
    get: (v, at) => v.getUint16(at, true),
    set: (v, at, x) => v.setUint16(at, x as number, true),
    ...small(0xffff),
  },
  u32: {
    size: 4,
    align: 4,
    get: (v, at) => v.getUint32(at, true),
    set: (v, at, x) => v.setUint32(at, x as number, true),
    ...small(0xffffffff),
  },
  u64: {
    size: 8,
    align: 8,
    get: (v, at) => v.getBigUint64(at, true),
    set: (v, at, x) => v.setBigUint64(at, x as bigint, true),
    ...wide(false),
  },
  s64: {
    size: 8,
    align: 8,
    get: (v, at) => v.getBigInt64(at, true),
    set: (v, at, x) => v.setBigInt64(at, x as bigint, true),
    ...wide(true),
  },
};

function codecOf(type: FieldType): Codec {
  if (typeof type === 'string') return scalars[type];
  if ('bytes' in type) {
    const n = type.bytes;
    return {
      size: n,
      align: 1,
      get: (v, at) => new Uint8Array(v.buffer, v.byteOffset + at, n).slice(),
      set: (v, at, x) => {
        const bytes = x as Uint8Array;
        if (bytes.length !== n) throw new RangeError(`expected ${n} bytes, got ${bytes.length}`);
        new Uint8Array(v.buffer, v.byteOffset + at, n).set(bytes);
      },
      toJson: (x) => bytesToJson(x as Uint8Array),
      fromJson: (json, path) => jsonBytes(json, path, n, n),
    };
  }
  if ('array' in type) {
    const element = codecOf(type.array);
    const { length } = type;
    return {
      size: element.size * length,
      align: element.align,
      get: (v, at) => Array.from({ length }, (_, i) => element.get(v, at + i * element.size)),
      set: (v, at, x) => {
        const items = x as unknown[];
        if (items.length !== length) throw new RangeError(`expected ${length} elements, got ${items.length}`);
        for (let i = 0; i < length; i++) element.set(v, at + i * element.size, items[i]);
      },
      toJson: (x) => (x as unknown[]).map((item) => element.toJson(item)),
      fromJson: (json, path) => {
        const items = jsonArray(json, path, length);
        if (items.length !== length) throw new LayoutError(path, `a list of ${length} elements`, json);
        return items.map((item, i) => element.fromJson(item, `${path}[${i}]`));
      },
    };
  }
  return {
    size: type.size,
    align: type.align,
    get: (v, at) => type.decode(v, at),
    set: (v, at, x) => type.encode(x, v, at),
    toJson: (x) => type.toJson(x),
    fromJson: (json, path) => type.fromJson(json, path),
  };
}

/**
 * Makes the codec of a C struct. Members named `pad…` or `reserved…` take room, are written as zero and do not show.
 * @param name the kernel's struct name, for messages
 * @param members in the header's order
 */
export function struct<T>(name: string, members: Record<string, FieldType>): Struct<T> {
  let size = 0;
  let align = 1;
  const fields: { name: string; at: number; codec: Codec; hidden: boolean }[] = [];
  const offsets: Record<string, number> = {};
  for (const [member, type] of Object.entries(members)) {
    const codec = codecOf(type);
    size = Math.ceil(size / codec.align) * codec.align;
    align = Math.max(align, codec.align);
    fields.push({ name: member, at: size, codec, hidden: /^(pad|reserved)/.test(member) });
    offsets[member] = size;
    size += codec.size;
  }
  size = Math.ceil(size / align) * align;
  return {
    name,
    size,
    align,
    offsets,
    decode(view, at = 0) {
      const out: Record<string, unknown> = {};
      for (const f of fields) if (!f.hidden) out[f.name] = f.codec.get(view, at + f.at);
      return out as T;
    },
    encode(value, view, at = 0) {
      new Uint8Array(view.buffer, view.byteOffset + at, size).fill(0);
      const source = value as Record<string, unknown>;
      for (const f of fields) {
        if (f.hidden) continue;
        const member = source[f.name];
        if (member === undefined) throw new TypeError(`${name}.${f.name} is missing`);
        f.codec.set(view, at + f.at, member);
      }
    },
    toJson(value) {
      const source = value as Record<string, unknown>;
      const out: Record<string, unknown> = {};
      for (const f of fields) if (!f.hidden) out[f.name] = f.codec.toJson(source[f.name]);
      return out;
    },
    fromJson(json, path) {
      const source = jsonObject(json, path);
      const out: Record<string, unknown> = {};
      for (const f of fields) if (!f.hidden) out[f.name] = f.codec.fromJson(source[f.name], `${path}.${f.name}`);
      for (const member of Object.keys(source)) {
        if (!Object.hasOwn(out, member)) throw new LayoutError(`${path}.${member}`, 'absent', source[member]);
      }
      return out as T;
    },
  };
}
