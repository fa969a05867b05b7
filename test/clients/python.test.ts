import { fileURLToPath } from 'node:url';
import t from 'tap';
import { assertMoved, cannotRun, pair, run } from './pair.js';

const SCRIPT = fileURLToPath(new URL('../../../test/clients/minimal_qmp.py', import.meta.url));

t.test(
  'the thirty lines of Python that scripts have for QMP drive a guest and migrate it',
  { skip: cannotRun('python3') },
  async (t) => {
    const vms = await pair(t);
    const { stdout } = await run('python3', [SCRIPT, vms.socket, vms.uri], { timeout: 30_000 });
    t.equal(stdout, 'running\nSTOP\npaused\nRESUME\nrefused: The command nope has not been found\ncompleted\n');
    await assertMoved(t, vms);
  },
);
