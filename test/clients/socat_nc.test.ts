import { once } from 'node:events';
import t from 'tap';
import { assertMoved, background, cannotRun, pair, shell } from './pair.js';

/** A script's function: sends commands, half-closes, and prints what comes until the server closes too. */
const TOOLS = {
  socat: 'socat -t 20 - "UNIX-CONNECT:$QMP"',
  'nc -N': 'nc -N -U "$QMP"',
} as const;

const messages = (text: string) =>
  text
    .split('\r\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

for (const [tool, command] of Object.entries(TOOLS)) {
  const skip = cannotRun(tool.split(' ')[0] as string);
  t.test(
    `one-liners with ${tool}: all is answered after the half-close, then the server closes`,
    { skip },
    async (t) => {
      const vms = await pair(t);
      const qmp = (commands: string) => shell(`echo '${commands}' | ${command}`, { QMP: vms.socket });
      const all = messages(
        await qmp(
          '{"execute":"qmp_capabilities"}{"execute":"query-status","id":1}{"execute":"stop"}{"execute":"query-status"}{"execute":"cont"}{"execute":"nope"}{"execute":',
        ),
      );
      t.match(all, [
        { QMP: { version: { qemu: { major: 7, minor: 2 } } } },
        { return: {} },
        { return: { status: 'running' }, id: 1 },
        { event: 'STOP' },
        { return: {} },
        { return: { status: 'paused' } },
        { event: 'RESUME' },
        { return: {} },
        { error: { class: 'CommandNotFound', desc: 'The command nope has not been found' } },
      ]);
      t.equal(all.length, 9, 'half an object at the end is dropped without a word');

      // The client has long hung up when the migration is done.
      const begun = messages(
        await qmp(`{"execute":"qmp_capabilities"}{"execute":"migrate","arguments":{"uri":"${vms.uri}"}}`),
      );
      t.ok(begun.some((message) => message.return && message.error === undefined));
      const status = await shell(
        `until echo '{"execute":"qmp_capabilities"}{"execute":"query-migrate"}' | ${command} | grep -q '"status": "completed"'; do sleep 0.05; done; echo over`,
        { QMP: vms.socket },
      );
      t.equal(status, 'over\n');
      await assertMoved(t, vms);
    },
  );
}

t.test('a script that keeps a socat open sees the events as they come', { skip: cannotRun('socat') }, async (t) => {
  const vms = await pair(t);
  const socat = background(t, 'socat', ['-', `UNIX-CONNECT:${vms.socket}`]);
  const received: string[] = [];
  const ready = new Promise<void>((resolve) => {
    socat.stdout?.setEncoding('utf8').on('data', (text: string) => {
      received.push(text);
      if (received.join('').includes('{"return": {}}')) resolve();
    });
  });
  socat.stdin?.write('{"execute":"qmp_capabilities"}\n');
  await ready;
  await vms.source.qmp.execute('stop');
  await vms.source.qmp.execute('cont');
  socat.stdin?.end('{"execute":"query-status"}\n');
  await once(socat, 'close');
  t.match(messages(received.join('')).slice(2), [
    { event: 'STOP' },
    { event: 'RESUME' },
    { return: { status: 'running' } },
  ]);
});
