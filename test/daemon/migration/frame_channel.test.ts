import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Budget, MIN_BUFFER_BYTES } from '../../../daemon/migration/budget.js';
import { FrameChannel } from '../../../daemon/migration/frame_channel.js';
import { SocketLink } from '../../../daemon/migration/socket_link.js';
import * as libc from '../../../kvm/libc_unsafe.js';
import { closeFd, createMemfd, Mapping } from '../../../kvm/memory.js';
import * as sockets from '../../../kvm/sockets.js';
import { encodeRanges, HEADER_BYTES, MAX_JSON_BYTES } from '../../../protocol/migration_stream.js';
import { openDescriptors } from '../../helpers/kvm.js';

const STALL_MS = 100;

interface Pair {
  source: FrameChannel;
  destination: FrameChannel;
  budgets: [Budget, Budget];
  fds: [number, number];
}

/** Both ends of a stream, in one thread: what is sent must fit the socket. */
function pair(t: Test): Pair {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-frames-'));
  const address = { kind: 'unix', path: join(dir, 's') } as const;
  const listener = sockets.listenOn(address);
  const near = sockets.startConnect(address);
  sockets.setBlocking(near);
  const far = sockets.acceptFrom(listener.fd) as number;
  closeFd(listener.fd);
  rmSync(dir, { recursive: true });
  const budgets: [Budget, Budget] = [new Budget(4 * MIN_BUFFER_BYTES), new Budget(4 * MIN_BUFFER_BYTES)];
  const source = new FrameChannel(new SocketLink(near, false, STALL_MS), budgets[0], 'send');
  const destination = new FrameChannel(new SocketLink(far, false, STALL_MS), budgets[1], 'receive');
  t.teardown(() => {
    source[Symbol.dispose]();
    destination[Symbol.dispose]();
    for (const fd of [near, far]) libc.close(fd);
  });
  return { source, destination, budgets, fds: [near, far] };
}

t.test('JSON frames go both ways, each counted and numbered', (t) => {
  const { source, destination } = pair(t);
  t.equal(destination.readable(0), false);
  source.sendJson('HELLO', { a: 1 });
  source.sendJson('SYNC', '{"epoch":2}');
  t.equal(destination.readable(1000), true);
  const hello = destination.receiveHeader();
  t.match(hello, { type: 'HELLO', sequence: 0, bodyBytes: 7 });
  t.same(destination.receiveJson(hello), { a: 1 });
  const sync = destination.receiveHeader();
  t.match(sync, { type: 'SYNC', sequence: 1 });
  t.same(destination.receiveJson(sync), { epoch: 2 });
  destination.sendJson('ACCEPT', {});
  t.match(source.receiveHeader(), { type: 'ACCEPT', sequence: 0 });
  t.equal(source.sentBytes, 2 * HEADER_BYTES + 7 + 11);
  t.equal(destination.receivedBytes, source.sentBytes);
  t.throws(() => source.sendJson('STATE', 'x'.repeat(MAX_JSON_BYTES + 1)), RangeError);
  t.end();
});

t.test('pages go by reference from one memory to the other, by list or from a memfd', (t) => {
  const { source, destination } = pair(t);
  const fd = createMemfd('test', 4 * 4096);
  t.teardown(() => closeFd(fd));
  using from = Mapping.ofFd(fd, 4 * 4096);
  using to = Mapping.anonymous(4 * 4096);
  for (let i = 0; i < 4 * 4096; i++) from.view(i, 1)[0] = (i * 13) & 0xff;
  encodeRanges(source.table, HEADER_BYTES, Uint32Array.of(1, 1, 3, 1), 2);
  source.beginPages('RAM', 2, 2);
  source.iov.add(from.address + 4096, 4096);
  source.flush(false);
  source.sendFile(fd, 3 * 4096, 4096, new DataView(new ArrayBuffer(8)));

  const header = destination.receiveHeader();
  t.match(header, { type: 'RAM', pages: 2, bodyBytes: 16 });
  const body = destination.receiveBody(header);
  t.same(
    [0, 4, 8, 12].map((at) => body.getUint32(at, true)),
    [1, 1, 3, 1],
  );
  destination.iov.clear();
  destination.iov.add(to.address + 4096, 4096);
  destination.iov.add(to.address + 3 * 4096, 4096);
  destination.receivePayload();
  t.same(to.view(4096, 4096), from.view(4096, 4096));
  t.same(to.view(3 * 4096, 4096), from.view(3 * 4096, 4096));
  t.equal(to.view(0, 1)[0], 0);
  t.equal(destination.receivedBytes, source.sentBytes);
  t.end();
});

t.test('bytes that are no frame are refused with where they stand', (t) => {
  const { source, destination, fds } = pair(t);
  source.sendJson('HELLO', {});
  const header = destination.receiveHeader();
  destination.receiveJson(header);
  libc.write(fds[0], Buffer.alloc(HEADER_BYTES, 'GET / HTTP/1.1'));
  t.throws(() => destination.receiveHeader(), {
    name: 'StreamError',
    message: `not a migration stream: magic 0x20544547 at stream offset ${HEADER_BYTES + 2}`,
  });
  t.end();
});

t.test('a peer that is gone, or takes nothing, ends the channel with a cause', (t) => {
  const { source, destination } = pair(t);
  source.limitStall(40);
  t.throws(
    () => {
      for (let i = 0; i < 1000; i++) source.sendJson('STATE', { x: 'y'.repeat(100_000) });
    },
    { name: 'ChannelError', message: 'the destination took no data for 40 ms' },
  );
  const gone = pair(t);
  gone.source.sendJson('HELLO', {});
  closeFd(gone.fds[0]);
  gone.destination.receiveJson(gone.destination.receiveHeader());
  t.equal(gone.destination.readable(1000), true);
  t.throws(() => gone.destination.receiveHeader(), {
    name: 'ChannelError',
    message: `the peer closed the connection at stream offset ${HEADER_BYTES + 2}`,
  });
  t.throws(() => gone.destination.sendJson('READY', {}), {
    name: 'ChannelError',
    message: 'Unable to write to socket: Broken pipe',
  });
  t.ok(destination.receivedBytes === 0);
  t.end();
});

t.test('all that a channel holds is drawn from its bound, and given back', (t) => {
  const before = openDescriptors();
  const budget = new Budget(MIN_BUFFER_BYTES);
  t.throws(() => new FrameChannel(new SocketLink(-1, false, STALL_MS), budget, 'send'), 'an fd that is none');
  const { source, budgets } = pair(t);
  t.ok(budgets[0].inUse > 0 && budgets[0].inUse <= budgets[0].bound);
  source.rebound(budgets[0], MIN_BUFFER_BYTES);
  t.ok(budgets[0].inUse <= MIN_BUFFER_BYTES, 'also when the other side wants less');
  t.equal(budgets[0].peak, budgets[0].inUse);
  source[Symbol.dispose]();
  t.equal(budgets[0].inUse, 0);
  t.equal(openDescriptors().length, before.length + 2, 'the socket is the caller’s');
  t.end();
});
