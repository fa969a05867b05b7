import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const schemas = fileURLToPath(new URL('../../../schemas', import.meta.url));

/** Generates from a copy of the schemas in which one file is changed. */
function generate(t: { testdir(): string }, file?: string, change?: (schema: Schema) => void) {
  const root = join(t.testdir(), 'schemas');
  cpSync(schemas, root, { recursive: true, filter: (path) => !path.endsWith('generated') });
  if (file && change) {
    const path = join(root, file);
    const schema = JSON.parse(readFileSync(path, 'utf8')) as Schema;
    change(schema);
    writeFileSync(path, JSON.stringify(schema));
  }
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'generate.mjs')], { encoding: 'utf8' });
  const generated = status === 0 ? readFileSync(join(root, 'generated', 'qmp.ts'), 'utf8') : '';
  return { status, stderr, generated };
}

type Schema = { [key: string]: unknown } & {
  arguments: { properties: { [name: string]: { [key: string]: unknown } } };
};

t.test('the schemas generate the types that the daemon is built with', async (t) => {
  const { status, stderr, generated } = generate(t);
  t.equal(status, 0, stderr);
  t.equal(generated, readFileSync(join(schemas, 'generated', 'qmp.ts'), 'utf8'));
  t.match(generated, /'max-bandwidth'\?: bigint;/);
  t.match(generated, /'dirtypercents'\?: number;/);
});

t.test('an undocumented member fails generation by name', async (t) => {
  const { status, stderr } = generate(t, 'commands/migrate.json', (schema) => {
    delete schema.arguments.properties.uri?.description;
  });
  t.equal(status, 1);
  t.equal(stderr, 'schemas: commands/migrate.arguments.uri: has no description\n');
});

t.test('a schema that is not well formed fails generation by name', async (t) => {
  const cases: Array<[string, (schema: Schema) => void, string]> = [
    [
      'commands/stop.json',
      (s) => {
        s.title = 'halt';
      },
      "commands/stop.json: title must be 'stop'",
    ],
    [
      'commands/stop.json',
      (s) => {
        s.colour = 1;
      },
      "commands/stop: unknown keyword 'colour'",
    ],
    [
      'commands/quit.json',
      (s) => {
        s.returns = { $ref: '../types/None.json' };
      },
      "$ref '../types/None.json' names no type",
    ],
    [
      'types/RunState.json',
      (s) => {
        s.oneOf = [{ const: 'x' }];
      },
      "types/RunState='x': has no description",
    ],
    [
      'commands/set-mplm-migration.json',
      (s) => {
        delete s.arguments.properties.dirtypercents?.['x-qapi'];
      },
      'an integer needs x-qapi',
    ],
    [
      'types/SocketAddress.json',
      (s) => {
        s['x-variants'] = { pigeon: { $ref: '../types/String.json' } };
      },
      "types/SocketAddress: variant 'pigeon' is no value of 'type'",
    ],
    [
      'types/SocketAddress.json',
      (s) => {
        s.required = [];
      },
      "types/SocketAddress: x-discriminator 'type' must be a required member that refers to an enum",
    ],
    [
      'types/StrOrNull.json',
      (s) => {
        s.anyOf = [{ type: 'string' }];
      },
      'types/StrOrNull|0: has no description',
    ],
    [
      'commands/stop.json',
      (s) => {
        s.returns = { anyOf: [] };
      },
      'commands/stop.returns: an alternate (anyOf) must be a type of its own',
    ],
    [
      'types/String.json',
      (s) => {
        s.properties = { str: { description: 'itself', $ref: '../types/String.json' } };
      },
      'types/String: contains itself, by String > String',
    ],
    [
      'commands/stop.json',
      (s) => {
        s.errors = [{ class: 'Oops', description: 'never' }];
      },
      "commands/stop: unknown error class 'Oops'",
    ],
  ];
  for (const [file, change, fault] of cases) {
    const { status, stderr } = generate(t, file, change);
    t.equal(status, 1);
    t.ok(stderr.includes(fault), stderr);
  }
});
