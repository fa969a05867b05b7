import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { genericError } from '../../protocol/qmp_errors.js';
import { modelServer } from '../conformance/model_server.js';
import { socketPath } from './qmp/socket_path.js';

const program = fileURLToPath(new URL('../../daemon/vmhostctl.js', import.meta.url));

async function vmhostctl(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    out.stderr += text;
  });
  const [code] = await once(child, 'close');
  return { code, ...out };
}

t.test('prints what a command returns, and fails with the text of a refusal', async (t) => {
  const path = socketPath(t);
  let seen: object = {};
  const server = modelServer({
    handlers: {
      'set-mplm-migration': (args) => {
        seen = args;
        if (!args.enable) throw genericError('not now');
      },
    },
  });
  t.teardown(() => server.close());
  await server.listen({ kind: 'unix', path });
  const status = await vmhostctl('-s', path, 'query-status');
  t.equal(status.code, 0, status.stderr);
  t.same(JSON.parse(status.stdout), { running: true, singlestep: false, status: 'running' });
  t.notMatch(status.stdout, /\r/);
  t.equal((await vmhostctl('-s', `unix:${path}`, 'set-mplm-migration', 'enable=on', 'dirtypercents=30')).code, 0);
  t.same(seen, { enable: true, dirtypercents: 30 });
  const refused = await vmhostctl('-s', path, 'set-mplm-migration', 'enable=off');
  t.same(refused, { code: 1, stdout: '', stderr: 'vmhostctl: not now\n' });
  t.match(await vmhostctl('-s', `${path}.none`, 'stop'), {
    code: 1,
    stderr: /^vmhostctl: QMP connection failed: .*ENOENT/,
  });
});

t.test('explains itself and its commands, and wrong usage', async (t) => {
  const all = await vmhostctl('--help');
  t.equal(all.code, 0);
  t.match(all.stdout, /^Usage: vmhostctl -s ADDRESS COMMAND/);
  t.match(all.stdout, /set-mplm-migration/);
  const one = await vmhostctl('--help', 'migrate');
  t.match(one.stdout, /uri=string\n.*\n.*blk=boolean \(optional\)/s);
  t.match(await vmhostctl('stop'), { code: 2, stderr: /^vmhostctl: -s ADDRESS is missing\n\nUsage:/ });
  t.match(await vmhostctl('-s', 'x'), { code: 2, stderr: /COMMAND is missing/ });
  t.match(await vmhostctl('-s', 'x', 'migrate', 'uri'), { code: 2, stderr: /'uri' is not of the form NAME=VALUE/ });
  t.match(await vmhostctl('--nope'), { code: 2, stderr: /--nope/ });
  t.match(await vmhostctl('--help', 'nope'), { code: 2, stderr: /there is no command 'nope'/ });
});
