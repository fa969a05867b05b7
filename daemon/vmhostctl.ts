#!/usr/bin/env node
// Executes one QMP command on a running daemon and prints what it returns.
import { parseArgs } from 'node:util';
import { argumentsFromText } from '../client/arguments_from_text.js';
import { QmpClient } from '../client/qmp_client.js';
import { encodeJson } from '../protocol/json_writer.js';
import { resolve } from '../protocol/schema_walk.js';
import { COMMANDS, type CommandName, type CommandSchema, type SchemaNode } from '../schemas/generated/qmp.js';

const USAGE = `Usage: vmhostctl -s ADDRESS COMMAND [NAME=VALUE ...]
       vmhostctl --help [COMMAND]

Executes a QMP command and prints what it returns as JSON.

  -s, --socket ADDRESS   where the daemon listens: a path, unix:PATH or tcp:HOST:PORT
  -h, --help             this text, or the arguments of COMMAND

Exit status: 0 done, 1 refused or not reachable (the reason is on standard error), 2 wrong usage.
`;

/** A mistake in the command line. */
class UsageError extends Error {}

function typeName(unresolved: SchemaNode): string {
  const node = resolve(unresolved);
  if (node.oneOf) return node.oneOf.map((value) => value.const).join('|');
  if (node.type === 'array') return `[${typeName(node.items as SchemaNode)}]`;
  if (node.type === 'object') return 'object';
  return node.type === 'integer' ? (node['x-qapi'] as string) : (node.type as string);
}

function commandHelp(schema: CommandSchema): string {
  const lines = Object.entries(schema.arguments.properties ?? {}).map(([name, node]) => {
    const optional = schema.arguments.required?.includes(name) ? '' : ' (optional)';
    return `  ${name}=${typeName(node)}${optional}\n      ${node.description}`;
  });
  return `${[`${schema.title}: ${schema.description}`, ...lines].join('\n')}\n`;
}

function help(command: string | undefined): string {
  if (command === undefined) {
    const commands = Object.values(COMMANDS).map(({ title, description }) => `  ${title}\n      ${description}`);
    return `${USAGE}\nCommands:\n${commands.join('\n')}\n`;
  }
  if (!Object.hasOwn(COMMANDS, command)) throw new UsageError(`there is no command '${command}'`);
  return commandHelp(COMMANDS[command as CommandName]);
}

async function run(argv: string[]): Promise<string> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(argv);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  const [command, ...words] = positionals;
  if (values.help) return help(command);
  if (values.socket === undefined) throw new UsageError('-s ADDRESS is missing');
  if (command === undefined) throw new UsageError('COMMAND is missing');
  let args: object;
  try {
    args = argumentsFromText(command, words);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const client = await QmpClient.connect(values.socket);
  try {
    const returned = await client.executeRaw(command, words.length ? args : undefined);
    return `${encodeJson(returned, { pretty: true }).replaceAll('\r\n', '\n')}\n`;
  } finally {
    await client.close();
  }
}

function parse(argv: string[]) {
  return parseArgs({
    args: argv,
    allowPositionals: true,
    options: { socket: { type: 'string', short: 's' }, help: { type: 'boolean', short: 'h' } },
  });
}

try {
  process.stdout.write(await run(process.argv.slice(2)));
} catch (error) {
  const usage = error instanceof UsageError;
  process.stderr.write(`vmhostctl: ${(error as Error).message}\n${usage ? `\n${USAGE}` : ''}`);
  process.exitCode = usage ? 2 : 1;
}
