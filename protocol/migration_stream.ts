/**
 * The migration stream: frames between the source and the destination of a live migration.
 *
 * ```
 * source                                   destination
 * HELLO version, machine, RAM, limits   ─▶  checks everything before taking memory
 *                                       ◀─  ACCEPT limits | REFUSE reason
 * RAM ranges + payload, ZERO ranges …   ─▶  payload lands in guest RAM directly
 * SYNC epoch …                          ─▶
 * FLUSH                                 ─▶  all sent so far is in its RAM
 *                                       ◀─  FLUSHED
 *   (vCPUs pause)  RAM …, STATE, DIGEST ─▶  loads all, runs nothing
 *                                       ◀─  ALIVE … (while it loads) READY | REFUSE reason
 * COMMIT                                ─▶  resumes
 *                                       ◀─  RUNNING
 * ```
 *
 * Where the HELLO says `oneWay`, nothing comes back: the source sends no FLUSH and waits for no answer, and the destination sends none. What
 * arrives up to COMMIT is then a whole guest, which may as well have lain in a file.
 *
 * Receiver's states: `hello` → `live` (RAM, ZERO, SYNC, FLUSH in any order) → `state` (from the first STATE: STATE, then one DIGEST) → `ready`
 * (one COMMIT) → `committed`. A frame out of state is refused.
 *
 * Version rule: a peer speaks exactly one version; the destination refuses any other and names both. Members may be added to the
 * JSON bodies without a new version where ignoring them is safe.
 *
 * Every frame is a header of 24 bytes (little endian), `bodyBytes` of body, then, for RAM only, `pages`·4096 bytes of payload:
 *
 * | at | type | member                                              |
 * | -- | ---- | --------------------------------------------------- |
 * | 0  | u32  | magic `MPLM`                                        |
 * | 4  | u16  | type, from 1                                        |
 * | 6  | u16  | reserved, 0                                         |
 * | 8  | u32  | bodyBytes                                           |
 * | 12 | u32  | pages: RAM and ZERO, pages in all ranges; else 0    |
 * | 16 | u32  | sequence: frames sent before this one, modulo 2^32  |
 * | 20 | u32  | reserved, 0                                         |
 *
 * The body of RAM and ZERO is a table of ranges, each two u32: first RAM page and number of pages (at least 1). Every other body is a JSON object.
 */

export const STREAM_VERSION = 2;
const STREAM_MAGIC = 0x4d4c504d; // "MPLM"
export const HEADER_BYTES = 24;
export const RANGE_BYTES = 8;
/** Ranges in one frame: one scatter list holds them, the header and the table. */
export const MAX_RANGES = 512;
/** Pages in one RAM frame (64 MiB). */
export const MAX_FRAME_PAGES = 16384;
/** Bytes of a JSON body: one vCPU's state is about 40 KiB. */
export const MAX_JSON_BYTES = 256 * 1024;
export const STREAM_PAGE_SIZE = 4096;

/** Frame types by name. Zero is never valid. */
export const FRAME = {
  HELLO: 1,
  ACCEPT: 2,
  REFUSE: 3,
  RAM: 4,
  ZERO: 5,
  SYNC: 6,
  STATE: 7,
  DIGEST: 8,
  READY: 9,
  COMMIT: 10,
  RUNNING: 11,
  ALIVE: 12,
  FLUSH: 13,
  FLUSHED: 14,
} as const;
export type FrameName = keyof typeof FRAME;

const frameNames = new Map<number, FrameName>(Object.entries(FRAME).map(([name, value]) => [value, name as FrameName]));

/** What is wrong with the bytes of a peer, and where in the stream. */
export class StreamError extends Error {
  readonly offset: number;

  constructor(what: string, offset: number) {
    super(`${what} at stream offset ${offset}`);
    this.name = 'StreamError';
    this.offset = offset;
  }
}

export interface FrameHeader {
  readonly type: FrameName;
  readonly bodyBytes: number;
  readonly pages: number;
  readonly sequence: number;
}

/** Writes a header at the start of `view`. */
export function encodeHeader(view: DataView, header: FrameHeader): void {
  view.setUint32(0, STREAM_MAGIC, true);
  view.setUint16(4, FRAME[header.type], true);
  view.setUint16(6, 0, true);
  view.setUint32(8, header.bodyBytes, true);
  view.setUint32(12, header.pages, true);
  view.setUint32(16, header.sequence, true);
  view.setUint32(20, 0, true);
}

/**
 * Reads and checks a header: magic, type, sequence, and that body and payload are within the limits of its type.
 * @param offset where it stands in the stream, for messages
 * @throws StreamError
 */
export function decodeHeader(view: DataView, sequence: number, offset: number): FrameHeader {
  const magic = view.getUint32(0, true);
  if (magic !== STREAM_MAGIC) throw new StreamError(`not a migration stream: magic 0x${magic.toString(16)}`, offset);
  const number = view.getUint16(4, true);
  const type = frameNames.get(number);
  if (type === undefined) throw new StreamError(`unknown frame type ${number}`, offset);
  const header = {
    type,
    bodyBytes: view.getUint32(8, true),
    pages: view.getUint32(12, true),
    sequence: view.getUint32(16, true),
  };
  if (view.getUint16(6, true) !== 0 || view.getUint32(20, true) !== 0) {
    throw new StreamError(`reserved bits are set in a ${type} frame`, offset);
  }
  if (header.sequence !== sequence) {
    throw new StreamError(`${type} frame has sequence ${header.sequence}, expected ${sequence}`, offset);
  }
  if (type === 'RAM' || type === 'ZERO') {
    const ranges = header.bodyBytes / RANGE_BYTES;
    if (!Number.isInteger(ranges) || ranges < 1 || ranges > MAX_RANGES) {
      throw new StreamError(`${type} frame has a table of ${header.bodyBytes} bytes`, offset);
    }
    if (header.pages < ranges || (type === 'RAM' && header.pages > MAX_FRAME_PAGES)) {
      throw new StreamError(`${type} frame has ${header.pages} pages in ${ranges} ranges`, offset);
    }
  } else {
    if (header.pages !== 0) throw new StreamError(`${type} frame has ${header.pages} pages`, offset);
    if (header.bodyBytes < 2 || header.bodyBytes > MAX_JSON_BYTES) {
      throw new StreamError(`${type} frame has a body of ${header.bodyBytes} bytes`, offset);
    }
  }
  return header;
}

/** Writes ranges (flat: first, count, first, count …) as a table at `at`. */
export function encodeRanges(view: DataView, at: number, ranges: Uint32Array, rangeCount: number): void {
  for (let i = 0; i < rangeCount * 2; i++) view.setUint32(at + 4 * i, ranges[i], true);
}

/**
 * Reads and checks the table of a RAM or ZERO frame into `out` (flat: first, count …).
 * @param ramPages pages of RAM; every range lies inside
 * @returns number of ranges
 * @throws StreamError when a range is empty or outside RAM, or the pages do not add up to the header's
 */
export function decodeRanges(
  view: DataView,
  header: FrameHeader,
  ramPages: number,
  offset: number,
  out: Uint32Array,
): number {
  const rangeCount = header.bodyBytes / RANGE_BYTES;
  let pages = 0;
  for (let i = 0; i < rangeCount; i++) {
    const first = view.getUint32(i * RANGE_BYTES, true);
    const count = view.getUint32(i * RANGE_BYTES + 4, true);
    if (count === 0 || first + count > ramPages) {
      throw new StreamError(
        `${header.type} range ${first}+${count} is not inside ${ramPages} pages of RAM`,
        offset + i * RANGE_BYTES,
      );
    }
    out[2 * i] = first;
    out[2 * i + 1] = count;
    pages += count;
  }
  if (pages !== header.pages) {
    throw new StreamError(`${header.type} ranges hold ${pages} pages, the header says ${header.pages}`, offset);
  }
  return rangeCount;
}

/** Bytes of a JSON body, from an object or its text. @throws RangeError when it is longer than a frame may be */
export function encodeJson(body: object | string): Uint8Array {
  const bytes = new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));
  if (bytes.length > MAX_JSON_BYTES) {
    throw new RangeError(`a frame's body of ${bytes.length} bytes is over the limit of ${MAX_JSON_BYTES}`);
  }
  return bytes;
}

/** A JSON body: an object. @throws StreamError when it is none */
export function decodeJson(bytes: Uint8Array, type: FrameName, offset: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new StreamError(`${type} frame is no JSON (${(error as Error).message})`, offset);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new StreamError(`${type} frame is no JSON object`, offset);
  }
  return value as Record<string, unknown>;
}

/** Which frames the destination takes in each of its states, and the state each leads to. */
const transitions = {
  hello: { HELLO: 'live' },
  live: { RAM: 'live', ZERO: 'live', SYNC: 'live', FLUSH: 'live', STATE: 'state' },
  state: { STATE: 'state', DIGEST: 'ready' },
  ready: { COMMIT: 'committed' },
  committed: {},
} as const satisfies Record<string, Partial<Record<FrameName, string>>>;
export type ReceiverState = keyof typeof transitions;

/** The destination's next state. @throws StreamError for a frame that has no place in `state` */
export function nextReceiverState(state: ReceiverState, type: FrameName, offset: number): ReceiverState {
  const next = (transitions[state] as Partial<Record<FrameName, ReceiverState>>)[type];
  if (next === undefined) throw new StreamError(`${type} frame in state '${state}'`, offset);
  return next;
}

/** The machine as the source describes it; the destination must be alike. */
export interface Hello {
  version: number;
  machine: {
    vcpus: number;
    ramBytes: number;
    pageSize: number;
    /** A digest of the firmware, which both sides bring themselves. */
    firmware: string;
    /** Devices and the version of their state, in bus order. */
    devices: Record<string, number>;
  };
  /** Bytes of migration data that each side may hold. */
  maxBufferBytes: number;
  /** The destination's answers do not reach the source: it sends none. */
  oneWay: boolean;
  /** The guest's UUID, where the destination shall refuse another than its own. */
  uuid?: string;
}

/**
 * Checks a HELLO's shape (not whether the machine fits).
 * @throws StreamError naming the member
 */
export function checkHello(body: Record<string, unknown>, offset: number): Hello {
  const bad = (member: string, value: unknown): never => {
    throw new StreamError(`HELLO: ${member} is ${JSON.stringify(value) ?? 'missing'}`, offset);
  };
  const natural = (member: string, value: unknown): number =>
    Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : bad(member, value);
  const text = (member: string, value: unknown): string =>
    typeof value === 'string' && /^\w{1,64}$/.test(value) ? value : bad(member, value);
  const version = natural('version', body.version);
  if (version !== STREAM_VERSION) {
    throw new StreamError(`the source speaks stream version ${version}, this destination ${STREAM_VERSION}`, offset);
  }
  const machine = body.machine;
  if (typeof machine !== 'object' || machine === null) return bad('machine', machine);
  const m = machine as Record<string, unknown>;
  const devices = m.devices;
  if (typeof devices !== 'object' || devices === null || Array.isArray(devices)) return bad('machine.devices', devices);
  for (const [name, value] of Object.entries(devices)) natural(`machine.devices.${name}`, value);
  return {
    version,
    machine: {
      vcpus: natural('machine.vcpus', m.vcpus),
      ramBytes: natural('machine.ramBytes', m.ramBytes),
      pageSize: natural('machine.pageSize', m.pageSize),
      firmware: text('machine.firmware', m.firmware),
      devices: devices as Record<string, number>,
    },
    maxBufferBytes: natural('maxBufferBytes', body.maxBufferBytes),
    oneWay: typeof body.oneWay === 'boolean' ? body.oneWay : bad('oneWay', body.oneWay),
    ...(body.uuid === undefined ? {} : { uuid: typeof body.uuid === 'string' ? body.uuid : bad('uuid', body.uuid) }),
  };
}

/** Why `theirs` cannot be received by a machine like `ours`; undefined where it can. */
export function machineMismatch(theirs: Hello['machine'], ours: Hello['machine']): string | undefined {
  const differ = (what: string, a: unknown, b: unknown) => `${what}: the source has ${a}, this destination ${b}`;
  if (theirs.pageSize !== ours.pageSize) return differ('page size', theirs.pageSize, ours.pageSize);
  if (theirs.ramBytes !== ours.ramBytes) return differ('bytes of RAM', theirs.ramBytes, ours.ramBytes);
  if (theirs.vcpus !== ours.vcpus) return differ('vCPUs', theirs.vcpus, ours.vcpus);
  if (theirs.firmware !== ours.firmware) return differ('firmware', theirs.firmware, ours.firmware);
  const names = new Set([...Object.keys(theirs.devices), ...Object.keys(ours.devices)]);
  for (const name of names) {
    const [a, b] = [theirs, ours].map(({ devices }) => (Object.hasOwn(devices, name) ? devices[name] : undefined));
    if (a !== b) {
      return differ(`device ${name}`, a ? `version ${a}` : 'none', b ? `version ${b}` : 'none');
    }
  }
  return undefined;
}
