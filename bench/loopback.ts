/**
 * What the loopback itself gives: plain send(2) and recv(2) between two processes, as the floor under any migration. Measured twice: into
 * one buffer again and again, and into memory that was never touched, as the destination of a migration has it.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { check, SysError } from '../kvm/errors.js';
import * as libc from '../kvm/libc_unsafe.js';
import { closeFd, createMemfd, Mapping } from '../kvm/memory.js';
import {
  acceptFrom,
  finishConnect,
  listenOn,
  MSG_NOSIGNAL,
  MSG_WAITALL,
  POLLIN,
  POLLOUT,
  setBlocking,
  startConnect,
  waitFor,
} from '../kvm/sockets.js';

export type Into = 'one buffer' | 'fresh memory';

const CHUNK_BYTES = 2 ** 20;
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Moves `bytes` (a multiple of 1 MiB, at most 1 GiB) from a child process to this one over TCP on the loopback. Blocks meanwhile.
 * @returns bytes a second
 */
export async function loopbackRate(bytes: number, into: Into): Promise<number> {
  const { fd: listener, port } = listenOn({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  const sender = fork(fileURLToPath(import.meta.url), ['send', `${port}`, `${bytes}`]);
  const ended = once(sender, 'exit');
  try {
    await once(sender, 'message'); // its memory is filled, it connects next
    if (!waitFor(listener, POLLIN, CONNECT_TIMEOUT_MS)) throw new Error('the sending process did not connect');
    const fd = acceptFrom(listener);
    if (fd === undefined) throw new Error('the sending process went away');
    try {
      return receive(fd, bytes, into);
    } finally {
      closeFd(fd);
    }
  } finally {
    closeFd(listener);
    sender.kill();
    await ended;
  }
}

function receive(fd: number, bytes: number, into: Into): number {
  const memfd = createMemfd('loopback', bytes);
  using mapping = Mapping.ofFd(memfd, bytes);
  closeFd(memfd);
  const beginMs = performance.now();
  for (let at = 0; at < bytes; ) {
    // SAFETY: `at` + CHUNK_BYTES lies inside the mapping, which lives longer than the call.
    const address = mapping.address + (into === 'one buffer' ? 0 : at);
    const got = check('recv', libc.recv(fd, address, Math.min(CHUNK_BYTES, bytes - at), MSG_WAITALL));
    if (got === 0) throw new Error(`the sending process ended after ${at} of ${bytes} bytes`);
    at += got;
  }
  return (bytes * 1000) / (performance.now() - beginMs);
}

/** The child: fills its memory, then sends it from end to end. */
async function send(port: number, bytes: number): Promise<void> {
  using mapping = Mapping.anonymous(bytes);
  mapping.view(0, bytes).fill(0x5a);
  await new Promise((resolve) => process.send?.('ready', resolve));
  const fd = startConnect({ kind: 'tcp', host: '127.0.0.1', port });
  if (!waitFor(fd, POLLOUT, CONNECT_TIMEOUT_MS)) throw new Error('the receiving process does not answer');
  const refused = finishConnect(fd);
  if (refused !== 0) throw new SysError('connect', refused);
  setBlocking(fd);
  for (let at = 0; at < bytes; ) {
    // SAFETY: `at` + the length lies inside the mapping, which lives longer than the call.
    at += check('send', libc.send(fd, mapping.address + at, Math.min(CHUNK_BYTES, bytes - at), MSG_NOSIGNAL));
  }
  closeFd(fd);
  process.disconnect();
}

if (process.argv[2] === 'send' && process.argv[1] === fileURLToPath(import.meta.url)) {
  await send(Number(process.argv[3]), Number(process.argv[4]));
}
