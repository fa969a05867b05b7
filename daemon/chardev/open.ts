/** Makes chardevs from QEMU's `command line. */

import type { ChardevBackend } from '../cli/chardev_options.js';
import type { Chardev } from './chardev.js';
import { FileChardev } from './file.js';
import { SocketChardev } from './socket.js';
import { StdioChardev } from './stdio.js';

/** Everything is dropped, nothing ever arrives. */
const nullChardev: Chardev = {
  write: () => Promise.resolve(),
  onInput: () => undefined,
  resume: () => undefined,
  close: () => Promise.resolve(),
};

/** Opens it; for `wait=on`, resolves once a client is connected. @throws Error naming the path and the cause */
export async function openChardev(backend: ChardevBackend): Promise<Chardev> {
  switch (backend.kind) {
    case 'null':
      return nullChardev;
    case 'stdio':
      return new StdioChardev();
    case 'file':
      return FileChardev.open(backend.path, backend.append);
    case 'socket':
      if (backend.address.kind !== 'unix')
        throw new Error('a serial port on a socket that is no UNIX path is not supported');
      return backend.server
        ? SocketChardev.listen(backend.address.path, backend.wait)
        : SocketChardev.connect(backend.address.path);
    case 'pipe':
      throw new Error('a serial port on a pipe is not supported');
  }
}
