// Word indices in the ring's header.
/** Bytes taken so far, modulo 2^32. The consumer writes it, both read it. */
const HEAD = 0;
/** Bytes put so far, modulo 2^32. The producer writes it, both read it. */
const TAIL = 1;
const HEADER_BYTES = 8;

/** What became of a byte: `pushedFirst` means that the consumer may sleep and has to be told. */
export type PushResult = 'full' | 'pushed' | 'pushedFirst';

/**
 * A queue of bytes in shared memory between one producer and one consumer on different threads, without a lock.
 * (Several producers are fine if a lock lets in one at a time.) Zeroed memory is an empty ring.
 *
 * No wake-up is lost: the producer publishes its byte, then looks whether everything before was taken; the consumer
 * publishes what it took, then looks for more. Both steps are sequentially consistent, so one of them sees the other.
 */
export class ByteRing {
  readonly capacity: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #mask: number;

  /** `capacity` is a power of two; `byteOffset` a multiple of 4. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, capacity: number) {
    if (capacity <= 0 || capacity > 2 ** 30 || (capacity & (capacity - 1)) !== 0) {
      throw new RangeError(`the capacity of a ring must be a power of two, not ${capacity}`);
    }
    this.capacity = capacity;
    this.#words = new Int32Array(buffer, byteOffset, 2);
    this.#bytes = new Uint8Array(buffer, byteOffset + HEADER_BYTES, capacity);
    this.#mask = capacity - 1;
  }

  /** Bytes of shared memory that a ring of `capacity` takes. */
  static byteLength(capacity: number): number {
    return HEADER_BYTES + capacity;
  }

  /** Bytes that wait for the consumer. */
  get length(): number {
    return (Atomics.load(this.#words, TAIL) - Atomics.load(this.#words, HEAD)) >>> 0;
  }

  /** Bytes that fit. The consumer may raise it at any time, only the producer lowers it. */
  get free(): number {
    return this.capacity - this.length;
  }

  /** Producer: appends one byte. */
  push(byte: number): PushResult {
    const tail = Atomics.load(this.#words, TAIL);
    if ((tail - Atomics.load(this.#words, HEAD)) >>> 0 >= this.capacity) {
      return 'full';
    }
    this.#bytes[tail & this.#mask] = byte;
    Atomics.store(this.#words, TAIL, (tail + 1) | 0);
    return Atomics.load(this.#words, HEAD) === tail ? 'pushedFirst' : 'pushed';
  }

  /** Consumer: takes as many bytes as there are and `target` holds; returns how many. Call again until it is 0. */
  drain(target: Uint8Array): number {
    const head = Atomics.load(this.#words, HEAD);
    const count = this.#copy(head, target);
    if (count > 0) {
      Atomics.store(this.#words, HEAD, (head + count) | 0);
    }
    return count;
  }

  /** A copy of what waits, which stays. Neither side may be active. */
  peekAll(): Uint8Array {
    const bytes = new Uint8Array(this.length);
    this.#copy(Atomics.load(this.#words, HEAD), bytes);
    return bytes;
  }

  /** Makes the contents exactly `bytes` (at most `capacity`). Neither side may be active. */
  replaceAll(bytes: Uint8Array): void {
    this.#bytes.set(bytes);
    Atomics.store(this.#words, HEAD, 0);
    Atomics.store(this.#words, TAIL, bytes.length);
  }

  #copy(head: number, target: Uint8Array): number {
    const available = (Atomics.load(this.#words, TAIL) - head) >>> 0;
    const count = Math.min(available, target.length, this.capacity);
    const at = head & this.#mask;
    const first = Math.min(count, this.capacity - at);
    target.set(this.#bytes.subarray(at, at + first));
    target.set(this.#bytes.subarray(0, count - first), first);
    return count;
  }
}
