/** Makes chardevs from QEMU's `-serial` forms. */

import type { Chardev } from './chardev.js';
import { FileChardev } from './file.js';
import { SocketChardev } from './socket.js';
import { StdioChardev } from './stdio.js';

/** A parsed `-serial` argument. */
export type ChardevSpec =
  | { readonly kind: 'null' | 'stdio' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'unix'; readonly path: string; readonly server: boolean; readonly wait: boolean };

/** Everything is dropped, nothing ever arrives. */
const nullChardev: Chardev = {
  write: () => Promise.resolve(),
  onInput: () => undefined,
  resume: () => undefined,
  close: () => Promise.resolve(),
};

/** Opens it; for `wait=on`, resolves once a client is connected. @throws Error naming the path and the cause */
export async function openChardev(spec: ChardevSpec): Promise<Chardev> {
  switch (spec.kind) {
    case 'null':
      return nullChardev;
    case 'stdio':
      return new StdioChardev();
    case 'file':
      return FileChardev.open(spec.path);
    case 'unix':
      return spec.server ? SocketChardev.listen(spec.path, spec.wait) : SocketChardev.connect(spec.path);
  }
}
