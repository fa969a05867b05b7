import { lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';

/** Bytes of a socket's path, without the terminating NUL: sun_path of unix(7). */
const MAX_PATH_BYTES = 107;

/** Only the owner may connect. */
const UMASK = 0o177;

/**
 * Binds `server` to a UNIX socket of mode 0600 at `path`. A socket file that is left over is replaced; one that somebody
 * listens on, and any other file, is left alone and refused. Node removes the file when the server closes.
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes === 0 || bytes > MAX_PATH_BYTES || path.includes('\0')) {
    throw refused(path, `the path must have 1 to ${MAX_PATH_BYTES} bytes, none of them 0; it has ${bytes}`);
  }
  await removeStaleSocket(path);
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: Error) => reject(refused(path, cause.message, cause));
    server.once('error', failed);
    // bind(2) happens inside listen(), before this function is left: the file never has another mode.
    const umask = process.umask(UMASK);
    try {
      server.listen(path, () => {
        server.off('error', failed);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}

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

function refused(path: string, reason: string, cause?: Error): Error {
  return new Error(`Failed to bind socket to ${path}: ${reason}`, { cause });
}
