import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { within } from '../../helpers/daemons.js';
import { modelServer } from '../../helpers/model_server.js';
import { socketPath } from '../qmp/socket_path.js';
import { VMHOSTCTL } from './ctl_process.js';

const skip = spawnSync('which', ['socat']).status === 0 ? false : 'socat, which makes a terminal, is not installed';

/** A vmhostctl on a terminal of its own. */
class TerminalShell {
  text = '';
  readonly ended: Promise<unknown>;
  readonly #child;

  constructor(t: Test, path: string, history: string) {
    const command = `EXEC:"${process.execPath} ${VMHOSTCTL} -s ${path}",pty,setsid,ctty,rawer,stderr`;
    const env = { ...process.env, TERM: 'xterm', VMHOSTCTL_HISTORY: history };
    this.#child = spawn('socat', ['-', command], { stdio: ['pipe', 'pipe', 'inherit'], env });
    t.teardown(() => {
      this.#child.kill('SIGKILL');
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.text += text;
    });
    this.ended = once(this.#child, 'close');
  }

  /** Types, and waits until what is written after that matches. @returns what was written */
  async type(keys: string, answer: RegExp): Promise<string> {
    const from = this.text.length;
    this.#child.stdin.write(keys);
    return this.shows(answer, from);
  }

  async shows(pattern: RegExp, from = 0): Promise<string> {
    while (!pattern.test(this.text.slice(from))) {
      await within(
        15_000,
        `the shell shows ${pattern}, not '${this.text.slice(from)}'`,
        once(this.#child.stdout, 'data'),
      );
    }
    return this.text.slice(from);
  }
}

t.test('on a terminal: completion, events above the line that is being typed, history', { skip }, async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const history = join(path, '..', 'history');
  const shell = new TerminalShell(t, path, history);
  await shell.shows(/qmp> /);

  await shell.type('query-st', /query-st/);
  await shell.type('\t', /atus $/);
  await shell.type('-c\r', /"status": "running".*qmp> /s);

  await shell.type('migrate detach=f', /detach=f/);
  await shell.type('\t', /alse $/);
  await shell.type('\x03', /\^C.*qmp> (\x1b\[\d+G)?$/s);

  await shell.type('query-na', /query-na$/);
  const from = shell.text.length;
  server.emit('STOP');
  const shown = await shell.shows(/"event": "STOP"\}\r?\n.*qmp> query-na/s, from);
  t.match(shown, /^\x1b\[1G\x1b\[0J\{"timestamp"/, 'the line is erased before the event is written');
  await shell.type('me\r', /\{\r?\n\}.*qmp> /s);

  await shell.type('\x04', /\n$/);
  await shell.ended;
  t.same(readFileSync(history, 'utf8').split('\n').slice(0, -1), ['query-status -c', 'query-name']);
  t.equal(statSync(history).mode & 0o777, 0o600);

  const next = new TerminalShell(t, path, history);
  await next.shows(/qmp> /);
  await next.type('\x1b[A', /query-name/);
  await next.type('\r', /\{\r?\n\}.*qmp> /s);
  await server.close();
  await next.shows(/The connection is closed\./);
  await next.ended;
  t.ok(existsSync(history));
});
