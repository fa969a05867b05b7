import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { IOV_MAX, IoVector } from '../../kvm/iovec.js';
import * as libc from '../../kvm/libc_unsafe.js';
import { closeFd, Mapping } from '../../kvm/memory.js';
import * as sockets from '../../kvm/sockets.js';

const EAGAIN = 11;
const EPIPE = 32;
const ENDED = 1;

function pair(): { near: number; far: number } {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-iov-'));
  const address = { kind: 'unix', path: join(dir, 's') } as const;
  const listener = sockets.listenOn(address);
  const near = sockets.startConnect(address);
  sockets.setBlocking(near);
  const far = sockets.acceptFrom(listener.fd) as number;
  closeFd(listener.fd);
  rmSync(dir, { recursive: true });
  return { near, far };
}

t.test('scattered pieces arrive in order in other scattered pieces, however the socket cuts them', (t) => {
  const { near, far } = pair();
  t.teardown(() => [near, far].forEach(closeFd));
  sockets.setSocketBuffers(near, 8192, 8192);
  sockets.setSocketBuffers(far, 8192, 8192);
  using memory = Mapping.anonymous(2 * 65536);
  using out = new IoVector();
  using into = new IoVector();
  const pieces = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 60, size: 'max' });
  fc.assert(
    fc.property(pieces, fc.integer({ min: 60, max: 900 }), (lengths, size) => {
      const total = lengths.reduce((a, b) => a + b, 0);
      const source = memory.view(0, total);
      for (let i = 0; i < total; i++) source[i] = (i * 31 + lengths.length) & 0xff;
      memory.view(65536, 65536).fill(0);
      out.clear();
      let at = 0;
      for (const length of lengths) {
        out.add(memory.address + at, length);
        at += length;
      }
      into.clear();
      for (let n = 0; n < total; n += size) into.add(memory.address + 65536 + n, Math.min(size, total - n));
      assert.equal(out.bytesLeft, total);
      // One thread plays both sides: each takes what it can without waiting, so most transfers are partial.
      for (let i = 0; i < 200 && into.bytesLeft > 0; i++) {
        const sent = out.sendAll(near, sockets.MSG_DONTWAIT | sockets.MSG_NOSIGNAL);
        assert.ok(sent === 0 || sent === -EAGAIN, `sendAll gave ${sent}`);
        const received = into.receiveAll(far, sockets.MSG_DONTWAIT, ENDED);
        assert.ok(received === 0 || received === -EAGAIN, `receiveAll gave ${received}`);
      }
      assert.equal(into.bytesLeft, 0);
      assert.deepEqual(memory.view(65536, total), source);
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('a peer that is gone ends a transfer: sending with EPIPE, receiving with what the caller names', (t) => {
  const { near, far } = pair();
  using memory = Mapping.anonymous(4096);
  using iov = new IoVector();
  libc.write(near, new Uint8Array(100).fill(9));
  closeFd(near);
  iov.add(memory.address, 200);
  t.equal(iov.receiveAll(far, 0, 77), 77);
  t.equal(iov.bytesLeft, 100, 'what came before the end is there');
  t.equal(memory.view(99, 1)[0], 9);
  t.equal(iov.sendAll(far, sockets.MSG_NOSIGNAL), -EPIPE);
  closeFd(far);
  t.equal(iov.sendAll(9999, 0), -9, 'EBADF');
  iov.clear();
  t.equal(iov.sendAll(9999, 0), 0, 'nothing to send is no call at all');
  t.end();
});

t.test('memory that is not there is refused by the kernel, not read', (t) => {
  const { near, far } = pair();
  t.teardown(() => [near, far].forEach(closeFd));
  using iov = new IoVector();
  iov.add(2 ** 46, 4096);
  t.equal(iov.sendAll(near, sockets.MSG_NOSIGNAL), -14, 'EFAULT for an address beyond 4 GiB that is not mapped');
  t.end();
});

t.test('a list takes 1024 entries and no more until it is cleared', (t) => {
  using iov = new IoVector();
  using memory = Mapping.anonymous(4096);
  for (let i = 0; i < IOV_MAX; i++) iov.add(memory.address, 1);
  t.equal(iov.count, 1024);
  t.equal(iov.bytesLeft, 1024);
  t.throws(() => iov.add(memory.address, 1), { message: 'more than 1024 entries in a scatter list' });
  iov.clear();
  t.equal(iov.count, 0);
  t.equal(iov.bytesLeft, 0);
  iov.add(memory.address, 5);
  t.equal(iov.bytesLeft, 5);
  t.ok(IoVector.BYTES < 20000);
  t.end();
});
