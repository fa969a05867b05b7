import { commandSchema } from '../../client/arguments_from_text.js';
import { resolve } from '../../protocol/schema_walk.js';
import { COMMANDS, type SchemaNode } from '../../schemas/generated/qmp.js';
import { UsageError } from '../cli/values.js';
import { JOB_NAMES } from './jobs.js';

export const USAGE = `Usage: vmhostctl -s ADDRESS COMMAND [NAME=VALUE ...] [--wait | --progress]
       vmhostctl -s ADDRESS events [--follow] [--event NAME ...]
       vmhostctl -s ADDRESS [shell]
       vmhostctl --help [COMMAND]

Executes a QMP command and prints what it returns as JSON, waits for events, or opens a shell.

  -s, --socket ADDRESS   where the daemon listens: a path, unix:PATH or tcp:HOST:PORT;
                         without it, the environment's VMHOSTCTL_SOCKET
  -c, --compact          JSON in one line
  -t, --timeout SECONDS  gives up after so long; a job that was begun goes on
  -w, --wait             waits for the end of what the command begins, and prints what became of it:
                         ${JOB_NAMES.join(', ')}
  -p, --progress         waits, and shows on standard error how far a migration is
  -f, --follow           prints every event until the connection ends; without it only the next one
  -e, --event NAME       only events of that name; may be repeated
  -h, --help             this text, or the arguments of COMMAND

A VALUE is read as the argument's type says: integers take K, M, G and T, booleans true, false, on and off, lists JSON
or values with commas between. NAME.MEMBER=VALUE and NAME.0=VALUE give parts of objects and lists. A word without NAME is
the next required argument, as in 'vmhostctl migrate tcp:host:4444'; a JSON object is all arguments.

Ctrl-C while a migration is waited for cancels it; a second one leaves at once. Other jobs go on by themselves.

Exit status: 0 done, 1 refused, failed, too late or not reachable (the reason is on standard error), 2 wrong usage,
130 ended by Ctrl-C.
`;

/** The name of a type, as a reader of help wants it. */
function typeName(unresolved: SchemaNode): string {
  const node = resolve(unresolved);
  if (node['x-qapi'] === 'any') return 'any';
  if (node.oneOf) return node.oneOf.map((value) => value.const).join('|');
  if (node.anyOf) return node.anyOf.map(typeName).join('|');
  if (node.type === 'array') return `[${typeName(node.items as SchemaNode)}]`;
  return node.type === 'integer' ? (node['x-qapi'] as string) : (node.type as string);
}

/** The arguments of one command. @throws UsageError for one that the schemas do not know */
export function commandHelp(command: string): string {
  const schema = commandSchema(command);
  if (!schema) throw new UsageError(`there is no command '${command}'`);
  const lines = Object.entries(schema.arguments.properties ?? {}).map(([name, node]) => {
    const optional = schema.arguments.required?.includes(name) ? '' : ' (optional)';
    return `  ${name}=${typeName(node)}${optional}\n      ${node.description}`;
  });
  return `${[`${schema.title}: ${schema.description}`, ...lines].join('\n')}\n`;
}

/** Every command that the schemas know, a line each. */
export function commandList(): string {
  const commands = Object.values(COMMANDS).map(({ title, description }) => `  ${title}\n      ${description}`);
  return `Commands:\n${commands.join('\n')}\n`;
}
