import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { assertMoved, cannotRun, pair, run } from './pair.js';

/** Where Debian's golang-…-dev packages put their sources. */
const GOPATH = '/usr/share/gocode';
const SOURCE = fileURLToPath(new URL('../../../test/clients/go_qemu/main.go', import.meta.url));

const skip =
  cannotRun('go') ||
  (existsSync(`${GOPATH}/src/github.com/digitalocean/go-qemu`)
    ? false
    : 'golang-github-digitalocean-go-qemu-dev is not installed');

t.test("digitalocean's go-qemu drives a guest and migrates it", { skip, timeout: 180_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-go-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const program = join(dir, 'client');
  await run('go', ['build', '-o', program, SOURCE], {
    env: { ...process.env, GOPATH, GO111MODULE: 'off', GOFLAGS: '', CGO_ENABLED: '0' },
  });
  const vms = await pair(t);
  const { stdout } = await run(program, [vms.socket, vms.uri], { timeout: 30_000 });
  t.match(stdout.split('\n'), [
    /^version 7\.2\.\d+$/,
    'capabilities [oob]',
    'status StatusRunning',
    'event STOP',
    'status StatusPaused',
    'event RESUME',
    'status StatusRunning',
    'migrate is supported: true',
    'kvm true',
    'refused: The command nope has not been found',
    /^event MIGRATION setup/,
    'migration completed',
    'status StatusPostMigrate',
    '',
  ]);
  await assertMoved(t, vms);
});
