import { COMMANDS, type CommandName, type CommandSchema, EVENTS, type EventName } from '../schemas/generated/qmp.js';
import type { JsonObject } from './json_value.js';
import { argumentReader } from './qmp_arguments.js';
import { orderMembers } from './qmp_returns.js';

/** What the protocol needs to know of a command. */
export interface Command {
  readonly name: string;
  /** May be executed out of band. */
  readonly allowOob: boolean;
  /** Checks and converts arguments; throws QmpError. */
  readArguments(args: JsonObject): { [name: string]: unknown };
  /** The value to send for what a handler returned. */
  returned(value: unknown): unknown;
}

/** Makes a Command of its schema. */
export function commandFromSchema(schema: CommandSchema): Command {
  const name = schema.title;
  return {
    name,
    allowOob: schema['x-allow-oob'] === true,
    readArguments: argumentReader(schema.arguments),
    returned: (value) => (schema.returns ? orderMembers(schema.returns, value, name) : {}),
  };
}

const compiled = new Map<string, Command>();

/** The command of that name in the schemas, or undefined. Compiled at its first use. */
export function findCommand(name: string): Command | undefined {
  let command = compiled.get(name);
  if (!command && Object.hasOwn(COMMANDS, name)) {
    command = commandFromSchema(COMMANDS[name as CommandName]);
    compiled.set(name, command);
  }
  return command;
}

/** The message of an event. `microseconds` is the time since the epoch. */
export function eventMessage(event: EventName, data: unknown, microseconds: number): object {
  const schema = EVENTS[event].data;
  return {
    timestamp: { seconds: Math.floor(microseconds / 1e6), microseconds: Math.floor(microseconds % 1e6) },
    event,
    data: schema ? orderMembers(schema, data, event) : undefined,
  };
}
