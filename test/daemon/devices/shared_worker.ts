// The other thread of the tests of shared memory.

import { parentPort, workerData } from 'node:worker_threads';
import { ByteRing } from '../../../daemon/devices/byte_ring.js';
import { SharedLock } from '../../../daemon/devices/lock.js';
import { Serial16550 } from '../../../daemon/devices/serial16550.js';
import { FakeHost } from './fake_host.js';

export type SharedJob =
  | { kind: 'increment'; buffer: SharedArrayBuffer; times: number }
  | { kind: 'hold'; buffer: SharedArrayBuffer }
  | { kind: 'produce'; buffer: SharedArrayBuffer; capacity: number; total: number }
  | { kind: 'transmit'; buffer: SharedArrayBuffer; total: number };

const job = workerData as SharedJob;
const port = parentPort!;

switch (job.kind) {
  case 'increment': {
    // Word 0 is the lock, word 1 a counter that only the lock protects.
    const words = new Int32Array(job.buffer);
    const lock = new SharedLock(words, 0);
    for (let i = 0; i < job.times; i++) {
      lock.with(() => {
        words[1] = words[1]! + 1;
      });
    }
    break;
  }
  case 'hold': {
    // Takes the lock, says so, keeps it until word 1 is set.
    const words = new Int32Array(job.buffer);
    const lock = new SharedLock(words, 0);
    lock.acquire();
    port.postMessage('held');
    Atomics.wait(words, 1, 0);
    words[2] = 77;
    lock.release();
    break;
  }
  case 'produce': {
    const ring = new ByteRing(job.buffer, 0, job.capacity);
    for (let i = 0; i < job.total; i++) {
      let result = ring.push(i & 0xff);
      while (result === 'full') {
        result = ring.push(i & 0xff);
      }
      if (result === 'pushedFirst') {
        port.postMessage('wake');
      }
    }
    break;
  }
  case 'transmit': {
    // As a driver that polls LSR.THRE writes a FIFO's worth at a time.
    const host = new FakeHost();
    host.serialActivity = () => port.postMessage('wake');
    const serial = new Serial16550(job.buffer, 0, host);
    for (let i = 0; i < job.total; ) {
      if ((serial.pioRead(0x3fd, 1) & 0x20) !== 0) {
        for (let k = 0; k < 16 && i < job.total; k++, i++) {
          serial.pioWrite(0x3f8, 1, i % 251);
        }
      }
    }
    break;
  }
}
