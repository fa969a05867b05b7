/** Connections to sockets of others. */
import { closeSync } from 'node:fs';
import { causeOf, strerror } from '../../kvm/errors.js';
import { FdWatcher } from '../../kvm/fd_watcher_unsafe.js';
import { finishConnect, type SocketAddress, setNoDelay, startConnect } from '../../kvm/sockets.js';
import { FdStream } from './fd_stream.js';

/** Connects to `address`. @throws Error in QEMU's words, with the cause */
export async function connectTo(address: SocketAddress): Promise<FdStream> {
  return FdStream.ofSocket(await connectFd(address));
}

/** The same, as an fd, which is the caller's. */
export async function connectFd(address: SocketAddress): Promise<number> {
  const name = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`;
  const failed = (error: unknown) => new Error(`Failed to connect to '${name}': ${causeOf(error)}`);
  let fd: number;
  try {
    fd = startConnect(address);
  } catch (error) {
    throw failed(error);
  }
  try {
    await connected(fd);
    if (address.kind === 'tcp') setNoDelay(fd);
  } catch (error) {
    closeSync(fd);
    throw failed(error);
  }
  return fd;
}

async function connected(fd: number): Promise<void> {
  let watcher: FdWatcher | undefined;
  try {
    await new Promise<void>((resolve) => {
      watcher = new FdWatcher(fd, () => resolve());
      watcher.watch(false, true);
    });
  } finally {
    watcher?.[Symbol.dispose]();
  }
  const errno = finishConnect(fd);
  if (errno !== 0) throw Object.assign(new Error(strerror(errno)), { errno });
}
