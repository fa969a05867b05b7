import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A path for a UNIX socket, short enough for one, in a directory of its own that is removed after the test. */
export function socketPath(t: { teardown(action: () => void): unknown }): string {
  const dir = mkdtempSync(join(tmpdir(), 'qmp-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'qmp.sock');
}
