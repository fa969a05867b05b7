/** The language of the human monitor. What lines show was recorded from QEMU 7.2.22, help texts excepted. */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { HumanMonitor } from '../../../daemon/monitor/human_monitor.js';
import { genericError } from '../../../protocol/qmp_errors.js';
import { modelMonitor, shown } from './model.js';

const help = (command: string) => `Try "help ${command}" for more information\r\n`;

async function lines(t: Test, monitor: HumanMonitor, expected: Readonly<Record<string, string>>): Promise<void> {
  for (const [line, text] of Object.entries(expected)) t.equal(await shown(monitor, line), text, line);
}

t.test('a line that names no command says so with all that was understood of it', async (t) => {
  await lines(t, modelMonitor(), {
    '': '',
    '  ': '',
    foo: "unknown command: 'foo'\r\n",
    'foo bar baz': "unknown command: 'foo'\r\n",
    'info foo bar': "unknown command: 'info foo'\r\n",
    '  foo  ': "unknown command: '  foo'\r\n",
    'info -x': "unknown command: 'info -x'\r\n",
    '#': "unknown command: '#'\r\n",
    é: "unknown command: 'é'\r\n",
    /* The first word of an object's prototype is a word like any other. */
    constructor: "unknown command: 'constructor'\r\n",
  });
});

t.test('arguments that cannot be read are refused with the command to get help from', async (t) => {
  await lines(t, modelMonitor(), {
    'q/': `quit|q: extraneous characters at the end of line\r\n${help('q')}`,
    'stop 1': `stop|s: extraneous characters at the end of line\r\n${help('stop')}`,
    'info status x': `status: extraneous characters at the end of line\r\n${help('info status')}`,
    ' info\t name  x': `name: extraneous characters at the end of line\r\n${help(' info\t name')}`,
    migrate: `migrate: string expected\r\n${help('migrate')}`,
    'migrate -d': `migrate: string expected\r\n${help('migrate')}`,
    'migrate -x tcp:1': `migrate: unsupported option -x\r\n${help('migrate')}`,
    'migrate -d -d tcp:1': `migrate: unsupported option -d\r\n${help('migrate')}`,
    'migrate "tcp:1': `migrate: string expected\r\n${help('migrate')}`,
    'migrate tcp:1 tcp:2': `migrate: extraneous characters at the end of line\r\n${help('migrate')}`,
    'migrate_set_capability events': `Expected 'on' or 'off'\r\n${help('migrate_set_capability')}`,
    'migrate_set_capability events onn': `Expected 'on' or 'off'\r\n${help('migrate_set_capability')}`,
    'cpu 4294967296': `'cpu' has failed: integer is for 32-bit values\r\n${help('cpu')}`,
    'cpu -1': `'cpu' has failed: integer is for 32-bit values\r\n${help('cpu')}`,
    cpu: `unexpected end of expression\r\n${help('cpu')}`,
    'cpu 0': 'invalid CPU index\r\n',
  });
});

t.test('expressions are those of QEMU', async (t) => {
  const refused = (text: string) => `${text}\r\n${help('p')}`;
  await lines(t, modelMonitor(), {
    'p 1+2*3': '0x7\r\n',
    'p 1|6&3^2': '0x1\r\n',
    'p -5 % 3': '0xfffffffffffffffe\r\n',
    'p - 3': '0xfffffffffffffffd\r\n',
    'p 2*-3': '0xfffffffffffffffa\r\n',
    'p ~0': '0xffffffffffffffff\r\n',
    'p (1 + 2) * 3': '0x9\r\n',
    "p 'a'": '0x61\r\n',
    'p 010': '0x8\r\n',
    'p 18446744073709551615': '0xffffffffffffffff\r\n',
    p: refused('unexpected end of expression'),
    'p (1': refused("')' expected"),
    'p 1)': refused('print|p: extraneous characters at the end of line'),
    "p '": refused('character constant expected'),
    "p 'ab": refused("missing terminating ' character"),
    'p 1/0': refused('division by zero'),
    'p 0x': refused('print|p: extraneous characters at the end of line'),
    'p abc': refused("invalid char 'a' in expression"),
    'p 08': refused('print|p: extraneous characters at the end of line'),
    'p 0x10000000000000000': refused('number too large'),
    'p $foo': refused('unknown register'),
    'p $': refused('unknown register'),
  });
  t.match(await shown(modelMonitor(), `p ${'('.repeat(100_000)}1`), /^expression is nested too deeply/);
});

t.test('print knows the formats of C, and the last one given stays', async (t) => {
  await lines(t, modelMonitor(), {
    'p 0': '0\r\n',
    'p/x 10': '0xa\r\n',
    'p/d -1': '-1\r\n',
    'p 7': '7\r\n',
    'p/u -1': '18446744073709551615\r\n',
    'p/o 8': '010\r\n',
    'p /i 5': '5\r\n',
    'p/c 65': "'A'\r\n",
    'p/cb 300': "'\\x12c'\r\n",
    'p 10': "'\\n'\r\n",
    'p 13': "'\\r'\r\n",
    'p 39': "'\\''\r\n",
    'p 92': "'\\\\'\r\n",
    'p 127': "'\\x7f'\r\n",
    'p -1': "'\\xffffffff'\r\n",
    'p/z 1': `invalid char in format: 'z'\r\n${help('p')}`,
    'p/5xx 1': '0x1\r\n',
  });
});

t.test('a command is a QMP command: what that refuses is shown after Error:', async (t) => {
  const calls: unknown[] = [];
  const monitor = modelMonitor({
    migrate: (args) => {
      calls.push(args);
      if (args.uri === 'foo') throw genericError('the refusal');
    },
    'migrate-set-parameters': (args) => void calls.push(args),
    'migrate-set-capabilities': (args) => void calls.push(args),
    'set-mplm-migration': (args) => void calls.push(args),
  });
  const plain = { blk: false, inc: false, resume: false };
  await lines(t, monitor, {
    'migrate foo': 'Error: the refusal\r\n',
    'migrate -d tcp:1:2': '',
    'migrate "exec:a \\"b\\""': 'terminal does not allow synchronous migration, continuing detached\r\n',
    'migrate -b -r tcp:1:2': 'terminal does not allow synchronous migration, continuing detached\r\n',
    'migrate_set_parameter max-bandwidth 1.5': '',
    'migrate_set_parameter downtime-limit 0x10': '',
    'migrate_set_parameter cpu-throttle-tailslow yes': '',
    'migrate_set_parameter cpu-throttle-tailslow OFF':
      "Error: Parameter 'cpu-throttle-tailslow' expects 'on' or 'off'\r\n",
    'migrate_set_parameter cpu-throttle-initial 300': "Error: Parameter 'cpu-throttle-initial' expects uint8_t\r\n",
    'migrate_set_parameter cpu-throttle-initial x': "Error: Parameter 'cpu-throttle-initial' expects uint64\r\n",
    'migrate_set_parameter max-bandwidth 8E': 'Error: Invalid size 8E\r\n',
    'migrate_set_parameter multifd-compression foo':
      "Error: Parameter 'multifd-compression' does not accept value 'foo'\r\n",
    'migrate_set_parameter tls-creds ""': '',
    'migrate_set_parameter block-bitmap-mapping x':
      'Error: The block-bitmap-mapping parameter can only be set through QMP\r\n',
    'migrate_set_capability events on': '',
    'migrate_set_parameter bogus 1': 'Error: invalid parameter value: bogus\r\n',
    'migrate_set_capability bogus on': 'Error: invalid parameter value: bogus\r\n',
    'set-mplm-migration -n -r 3 50': '',
    'set-mplm-migration 3 0': "Error: Parameter 'dirtypercents' expects a value between 1 and 99\r\n",
    stop: 'Error: The command stop has not been found\r\n',
  });
  t.strictSame(calls, [
    { uri: 'foo', ...plain },
    { uri: 'tcp:1:2', ...plain },
    { uri: 'exec:a "b"', ...plain },
    { uri: 'tcp:1:2', ...plain, blk: true, resume: true },
    { 'max-bandwidth': 1572864n },
    { 'downtime-limit': 16n },
    { 'cpu-throttle-tailslow': true },
    { 'tls-creds': '' },
    { capabilities: [{ capability: 'events', state: true }] },
    { enable: true, firstnondirty: false, relaxlivemig: true, intervaltime: 3, dirtypercents: 50 },
  ]);
});

t.test('help shows one command, or all of a table in order', async (t) => {
  const monitor = modelMonitor();
  const all = await shown(monitor, 'help');
  const names = all.split('\r\n').slice(0, -1);
  t.ok(
    names.every((line) => / -- ./.test(line)),
    'every line has a text',
  );
  t.strictSame([...names].sort(), names);
  t.match(all, /^help\|\? \[cmd\] -- /m);
  t.match(all, /^quit\|q {2}-- /m);
  for (const line of ['?', 'help  ']) t.equal(await shown(monitor, line), all, line);
  for (const line of ['help q', '? quit', 'help "q"', 'help q q'])
    t.match(await shown(monitor, line), /^quit\|q {2}-- .*\r\n$/, line);
  const info = await shown(monitor, 'info');
  t.match(info, /^info status {2}-- /m);
  for (const line of ['help info', 'info  ']) t.equal(await shown(monitor, line), info, line);
  t.match(await shown(monitor, 'help info status x'), /^info status {2}-- .*\r\n$/);
  t.equal(await shown(monitor, 'help foo'), "unknown command: 'foo'\r\n");
  t.equal(await shown(monitor, 'help info foo'), "unknown command: 'info foo'\r\n");
  t.equal(await shown(monitor, 'help "q'), '');
});

t.test('no line makes it throw', async () => {
  const word = fc.constantFrom(
    'info',
    'x',
    'p',
    'help',
    'migrate',
    '-d',
    '/4xw',
    '(',
    '"',
    '$eip',
    '0x',
    '\\',
    ' ',
    '\0',
  );
  const line = fc.array(fc.oneof(word, fc.string()), { maxLength: 6 }).map((parts) => parts.join(' '));
  const monitor = modelMonitor();
  await fc.assert(
    fc.asyncProperty(line, async (text) => {
      const output = await shown(monitor, text);
      return output === '' || output.endsWith('\r\n');
    }),
    { numRuns: 2000 },
  );
});
