import { fileURLToPath } from 'node:url';
import t from 'tap';
import { socketPath } from '../daemon/qmp/socket_path.js';
import { modelServer } from './model_server.js';
import { loadTranscripts, runTranscript } from './runner.js';

const file = fileURLToPath(new URL('../../../test/conformance/qemu-7.2.jsonl', import.meta.url));

t.test('answers what QEMU 7.2 answered, byte for byte', async (t) => {
  const path = socketPath(t);
  for (const transcript of loadTranscripts(file)) {
    const { pretty = false, startPaused = false, noReboot = false } = transcript;
    const server = modelServer({ startPaused, noReboot });
    await server.listen({ kind: 'unix', path }, { pretty });
    const outcome = await runTranscript(path, transcript);
    t.equal(outcome.actual, outcome.ok ? outcome.actual : outcome.expected, transcript.name);
    await server.close();
  }
});

t.test('a transcript that does not match is reported as such', async (t) => {
  const path = socketPath(t);
  const server = modelServer();
  await server.listen({ kind: 'unix', path });
  const steps = [{ send: '{"execute":"query-name"}\n', recv: '{"return": []}\r\n' }];
  const outcome = await runTranscript(path, { name: 'wrong', negotiated: true, steps }).finally(() => server.close());
  t.notOk(outcome.ok);
  t.equal(outcome.actual, '{"return": {}}\r\n');
});
