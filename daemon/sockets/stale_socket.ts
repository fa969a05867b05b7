import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';

/** Removes a socket file that nobody listens on. One that somebody listens on, and any other file, is refused. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw refused(path, error.message, error);
  });
  if (!found) return;
  if (!found.isSocket()) throw refused(path, 'a file that is not a socket is in the way');
  const answer = await probe(path);
  if (answer !== 'ECONNREFUSED') throw refused(path, 'Address already in use');
  await unlink(path).catch((error: Error) => {
    throw refused(path, error.message, error);
  });
}

/** Connects to a socket and hangs up: the error code, or undefined when somebody answered. */
function probe(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
  });
}

/** Why a UNIX socket could not be made at `path`. */
export function refused(path: string, reason: string, cause?: Error): Error {
  return new Error(`Failed to bind socket to ${path}: ${reason}`, { cause });
}
