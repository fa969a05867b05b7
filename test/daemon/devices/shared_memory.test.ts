import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t from 'tap';
import { ByteRing } from '../../../daemon/devices/byte_ring.js';
import { SharedLock } from '../../../daemon/devices/lock.js';
import { Serial16550 } from '../../../daemon/devices/serial16550.js';
import { FakeHost } from './fake_host.js';
import type { SharedJob } from './shared_worker.js';

function start(job: SharedJob): Worker {
  return new Worker(new URL('./shared_worker.js', import.meta.url), { workerData: job });
}

t.test('the lock lets one thread in at a time', async (t) => {
  const buffer = new SharedArrayBuffer(8);
  const words = new Int32Array(buffer);
  const times = 50_000;
  const workers = [start({ kind: 'increment', buffer, times }), start({ kind: 'increment', buffer, times })];
  const lock = new SharedLock(words, 0);
  await Promise.all(workers.map((w) => once(w, 'online')));
  for (let i = 0; i < times; i++) {
    lock.with(() => {
      words[1] = words[1]! + 1;
    });
  }
  await Promise.all(workers.map((w) => once(w, 'exit')));
  t.equal(words[1], 3 * times);
  t.equal(words[0], 0, 'and is free at the end');
});

t.test('a thread that waits for the lock sleeps until it is released, and sees what was written', async (t) => {
  const buffer = new SharedArrayBuffer(12);
  const words = new Int32Array(buffer);
  const worker = start({ kind: 'hold', buffer });
  const [message] = await once(worker, 'message');
  t.equal(message, 'held');
  t.throws(() => new SharedLock(words, 0, 20).acquire(), { message: 'a device lock was held for more than 20 ms' });
  Atomics.store(words, 1, 1);
  Atomics.notify(words, 1);
  const lock = new SharedLock(words, 0);
  lock.acquire();
  t.equal(words[2], 77);
  lock.release();
  t.equal(words[0], 0);
  await once(worker, 'exit');
});

t.test('the lock is released when its body throws', async (t) => {
  const words = new Int32Array(new SharedArrayBuffer(4));
  const lock = new SharedLock(words, 0);
  t.throws(() =>
    lock.with(() => {
      throw new Error('x');
    }),
  );
  t.equal(words[0], 0);
});

t.test('a ring delivers every byte in order between two threads, and no wake-up is lost', async (t) => {
  const capacity = 64;
  const total = 100_000;
  const buffer = new SharedArrayBuffer(ByteRing.byteLength(capacity));
  const ring = new ByteRing(buffer, 0, capacity);
  const worker = start({ kind: 'produce', buffer, capacity, total });
  const exit = once(worker, 'exit');
  const target = new Uint8Array(48);
  let received = 0;
  let inOrder = true;
  await new Promise<void>((resolve) => {
    worker.on('message', () => {
      for (let n = ring.drain(target); n > 0; n = ring.drain(target)) {
        for (let i = 0; i < n; i++) {
          inOrder &&= target[i] === ((received + i) & 0xff);
        }
        received += n;
      }
      if (received === total) resolve();
    });
  });
  t.ok(inOrder);
  await exit;
  t.equal(ring.length, 0);
});

t.test('a ring behaves as a queue of its capacity', async () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.uint8Array({ maxLength: 12 }), fc.nat({ max: 12 }))), fc.nat(), (steps, start) => {
      const buffer = new SharedArrayBuffer(ByteRing.byteLength(8));
      // Anywhere in the 32-bit counters, where they wrap included.
      const at = start % 2 === 0 ? -(start % 16) : 0x7fffffff - (start % 16);
      new Int32Array(buffer).fill(at, 0, 2);
      const ring = new ByteRing(buffer, 0, 8);
      const model: number[] = [];
      for (const step of steps) {
        if (typeof step === 'number') {
          const target = new Uint8Array(step);
          const n = ring.drain(target);
          const expected = model.splice(0, step);
          if (Buffer.compare(target.subarray(0, n), Buffer.from(expected)) !== 0) return false;
          continue;
        }
        for (const byte of step) {
          const result = ring.push(byte);
          const expected = model.length === 8 ? 'full' : model.length === 0 ? 'pushedFirst' : 'pushed';
          if (result !== expected) return false;
          if (result !== 'full') model.push(byte);
        }
        if (ring.length !== model.length || ring.free !== 8 - model.length) return false;
        if (Buffer.compare(ring.peekAll(), Buffer.from(model)) !== 0) return false;
      }
      return true;
    }),
  );
});

t.test('a ring whose capacity is no power of two is refused', async (t) => {
  t.throws(() => new ByteRing(new SharedArrayBuffer(64), 0, 12), RangeError);
});

t.test('a vCPU thread that polls LSR.THRE loses no output, however slowly main drains', async (t) => {
  const buffer = new SharedArrayBuffer(Serial16550.byteLength);
  const serial = new Serial16550(buffer, 0, new FakeHost());
  serial.reset();
  const total = 3 * Serial16550.txCapacity;
  const worker = start({ kind: 'transmit', buffer, total });
  const exit = once(worker, 'exit');
  const target = new Uint8Array(1000);
  let received = 0;
  let inOrder = true;
  await new Promise<void>((resolve) => {
    worker.on('message', () => {
      for (let n = serial.drainTx(target); n > 0; n = serial.drainTx(target)) {
        for (let i = 0; i < n; i++) {
          inOrder &&= target[i] === (received + i) % 251;
        }
        received += n;
      }
      if (received === total) resolve();
    });
  });
  await exit;
  t.ok(inOrder);
  t.equal(serial.save().txDropped, 0);
});
