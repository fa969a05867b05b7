import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SysError } from '../../kvm/errors.js';
import * as libc from '../../kvm/libc_unsafe.js';
import { closeFd } from '../../kvm/memory.js';
import * as sockets from '../../kvm/sockets.js';
import { MIB, openDescriptors } from '../helpers/kvm.js';

const hex = (address: sockets.SocketAddress) => Buffer.from(sockets.encodeAddress(address).buffer).toString('hex');
const tcp = (host: string, port = 4444) => ({ kind: 'tcp', host, port }) as const;

/** A path for a socket, in a directory of its own. */
function socketPath(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-sock-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return join(dir, 's');
}

/** A connected pair of stream sockets through a listener on `address`. */
function connectedPair(address: sockets.SocketAddress): { near: number; far: number } {
  const listener = sockets.listenOn(address);
  try {
    const target = address.kind === 'tcp' ? { ...address, port: listener.port } : address;
    const near = sockets.startConnect(target);
    sockets.waitFor(listener.fd, sockets.POLLIN, 5000);
    const far = sockets.acceptFrom(listener.fd);
    if (far === undefined) throw new Error('nobody connected');
    sockets.waitFor(near, sockets.POLLOUT, 5000);
    const refused = sockets.finishConnect(near);
    if (refused !== 0) throw new SysError('connect', refused);
    sockets.setBlocking(near);
    return { near, far };
  } finally {
    closeFd(listener.fd);
  }
}

t.test('addresses are encoded byte for byte as the kernel takes them', (t) => {
  t.equal(hex({ kind: 'unix', path: '/a' }), '01002f6100');
  t.equal(hex(tcp('127.0.0.1')), '0200115c7f0000010000000000000000');
  const v6 = (words: string) => `0a00115c00000000${words}00000000`;
  t.equal(hex(tcp('::')), v6('0'.repeat(32)));
  t.equal(hex(tcp('::1')), v6('00000000000000000000000000000001'));
  t.equal(hex(tcp('2001:db8::ff:1')), v6('20010db8000000000000000000ff0001'));
  t.equal(hex(tcp('1:2:3:4:5:6:7:8')), v6('00010002000300040005000600070008'));
  t.equal(hex(tcp('fe80::')), v6('fe800000000000000000000000000000'));
  t.equal(hex(tcp('::ffff:10.0.255.1')), v6('00000000000000000000ffff0a00ff01'));
  t.end();
});

t.test('an address that does not fit is refused with its value', (t) => {
  t.throws(() => sockets.encodeAddress({ kind: 'unix', path: '' }), { message: /must have 1 to 107 bytes/ });
  t.doesNotThrow(() => sockets.encodeAddress({ kind: 'unix', path: 'x'.repeat(107) }));
  t.throws(() => sockets.encodeAddress({ kind: 'unix', path: 'x'.repeat(108) }), RangeError);
  t.throws(() => sockets.encodeAddress({ kind: 'unix', path: 'é'.repeat(54) }), RangeError, 'bytes count, not letters');
  t.throws(() => sockets.encodeAddress({ kind: 'unix', path: 'a\0b' }), RangeError);
  for (const port of [-1, 65536, 1.5, Number.NaN]) {
    t.throws(() => sockets.encodeAddress(tcp('127.0.0.1', port)), { message: `port ${port} is outside 0..65535` });
  }
  for (const host of ['', 'localhost', '127.0.0', '256.0.0.1', '::g', 'fe80::1%lo']) {
    t.throws(() => sockets.encodeAddress(tcp(host)), { message: `'${host}' is no IP address` });
  }
  t.end();
});

for (const kind of ['unix', 'IPv4', 'IPv6'] as const) {
  t.test(`bytes go both ways over ${kind}, and the end of one direction is seen`, (t) => {
    const before = openDescriptors();
    const address = kind === 'unix' ? { kind, path: socketPath(t) } : tcp(kind === 'IPv4' ? '127.0.0.1' : '::1', 0);
    let pair: { near: number; far: number };
    try {
      pair = connectedPair(address);
    } catch (error) {
      if (kind !== 'IPv6') throw error;
      t.comment(`no IPv6 loopback here: ${(error as Error).message}`);
      t.end();
      return;
    }
    const { near, far } = pair;
    if (kind !== 'unix') sockets.setNoDelay(near);
    t.equal(libc.write(near, Buffer.from('hello')), 5);
    t.equal(sockets.waitFor(far, sockets.POLLIN, 5000), true);
    const got = new Uint8Array(10);
    t.equal(libc.read(far, got), 5);
    t.equal(Buffer.from(got.subarray(0, 5)).toString(), 'hello');
    t.equal(sockets.waitFor(far, sockets.POLLIN, 0), false, 'nothing more waits');
    sockets.endSending(near);
    sockets.endSending(near);
    t.equal(libc.read(far, got), 0, 'the end');
    t.equal(libc.write(far, Buffer.from('back')), 4, 'the other direction still works');
    t.equal(libc.read(near, got), 4);
    sockets.shutdownSocket(far);
    t.equal(libc.read(near, got), 0);
    closeFd(near);
    closeFd(far);
    t.strictSame(openDescriptors(), before);
    t.end();
  });
}

t.test('a connection that is refused tells so, at once or when it is finished', (t) => {
  const before = openDescriptors();
  const { fd, port } = sockets.listenOn(tcp('127.0.0.1', 0));
  t.ok(port > 0, 'the kernel chose a port');
  t.equal(sockets.acceptFrom(fd), undefined, 'nobody waits');
  t.throws(() => sockets.listenOn(tcp('127.0.0.1', port)), { syscall: 'bind', code: 'EADDRINUSE' });
  closeFd(fd);
  t.throws(
    () => {
      const near = sockets.startConnect(tcp('127.0.0.1', port));
      try {
        sockets.waitFor(near, sockets.POLLOUT, 5000);
        const refused = sockets.finishConnect(near);
        if (refused !== 0) throw new SysError('connect', refused);
      } finally {
        closeFd(near);
      }
    },
    { syscall: 'connect', code: 'ECONNREFUSED' },
  );
  t.throws(() => sockets.startConnect({ kind: 'unix', path: '/nonexistent/s' }), {
    syscall: 'connect',
    code: 'ENOENT',
  });
  t.throws(() => sockets.listenOn({ kind: 'unix', path: '/nonexistent/s' }), { syscall: 'bind', code: 'ENOENT' });
  t.strictSame(openDescriptors(), before);
  t.end();
});

t.test("the kernel's buffers are bounded, and what it grants is what fits", (t) => {
  const { near, far } = connectedPair({ kind: 'unix', path: socketPath(t) });
  t.teardown(() => [near, far].forEach(closeFd));
  const granted = sockets.setSocketBuffers(near, 64 * 1024, 32 * 1024);
  t.ok(granted.send <= 64 * 1024 && granted.send >= 32 * 1024, `send ${granted.send}`);
  t.ok(granted.receive <= 32 * 1024, `receive ${granted.receive}`);
  const chunk = new Uint8Array(4096);
  let held = 0;
  while (sockets.waitFor(near, sockets.POLLOUT, 0) && held < 4 * MIB) held += libc.write(near, chunk);
  t.ok(held <= granted.send, `${held} bytes are held by a socket of ${granted.send}`);
  const huge = sockets.setSocketBuffers(near, 2 ** 43, 2 ** 43);
  t.ok(
    huge.send >= granted.send && huge.receive >= granted.receive,
    'a wish beyond 32 bits is cut, not wrapped around',
  );
  t.end();
});

t.test('a send that finds no room for its time fails with EAGAIN', (t) => {
  const { near, far } = connectedPair({ kind: 'unix', path: socketPath(t) });
  t.teardown(() => [near, far].forEach(closeFd));
  sockets.setSocketBuffers(near, 16 * 1024, 16 * 1024);
  sockets.setSendTimeout(near, 20);
  const chunk = new Uint8Array(4096);
  let rc: number;
  do rc = libc.write(near, chunk);
  while (rc > 0);
  t.equal(rc, -11);
  t.end();
});

t.test('shutting down what is not connected is no error; an fd that is none is', (t) => {
  const { fd } = sockets.listenOn(tcp('127.0.0.1', 0));
  sockets.shutdownSocket(fd);
  closeFd(fd);
  t.throws(() => sockets.shutdownSocket(9999), { syscall: 'shutdown', code: 'EBADF' });
  t.throws(() => sockets.acceptFrom(9999), { syscall: 'accept', code: 'EBADF' });
  t.throws(() => sockets.setNoDelay(9999), { syscall: 'setsockopt', code: 'EBADF' });
  t.end();
});
