/**
 * The human monitor: runs one line of text at a time. It has no logic of its own: commands call those of QMP and show what they
 * return in QEMU's form.
 */
import type { JsonObject } from '../../protocol/json_value.js';
import { findCommand } from '../../protocol/qmp_commands.js';
import { commandNotFound, genericError, invalidParameter, QmpError, texts } from '../../protocol/qmp_errors.js';
import type { CommandName, CommandReturns } from '../../schemas/generated/qmp.js';
import { NamedFds } from '../fds/named_fds.js';
import type { Machine } from '../machine/machine.js';
import type { GuestMemory } from '../memory/guest_memory.js';
import type { CommandContext } from '../qmp/connection.js';
import type { CommandHandlers } from '../qmp/server.js';
import { type CurrentCpu, findHmpCommand, type HmpCommand, type MonitorContext, type Terminal } from './command.js';
import { MemoryFormatMemory } from './memory_format.js';
import { registerValue } from './registers.js';
import { HmpSyntaxError, Scanner } from './scanner.js';
import { HMP_COMMANDS } from './table.js';

/** Most that one line which came by QMP may show. */
const MAX_OUTPUT_CHARS = 16 << 20;

export interface HumanMonitorOptions {
  readonly memory: GuestMemory;
  /** Undefined for `-machine none`. */
  readonly machine: Machine | undefined;
  readonly handlers: CommandHandlers;
}

/** Where a line came from, and where its output goes. */
export interface MonitorView {
  readonly cpu: CurrentCpu;
  readonly terminal: Terminal | undefined;
  print(text: string): void;
  room(): Promise<void>;
}

export class HumanMonitor {
  readonly #options: HumanMonitorOptions;
  readonly #format = new MemoryFormatMemory();

  constructor(options: HumanMonitorOptions) {
    this.#options = options;
  }

  /** A context for the lines of one view. @param request of whoever the lines come from */
  context(view: MonitorView, request: CommandContext): MonitorContext {
    const { memory, machine, handlers } = this.#options;
    const context: MonitorContext = {
      memory,
      machine,
      cpu: view.cpu,
      terminal: view.terminal,
      format: this.#format,
      register: async (name) =>
        memory.hasVcpu(view.cpu.index) ? registerValue(await memory.registers(view.cpu.index), name) : undefined,
      print: (text) => view.print(text),
      room: () => view.room(),
      qmp: (name, args = {}) => callQmp(handlers, name, args, request),
    };
    return context;
  }

  /** QMP `human-monitor-command`. @throws QmpError for a CPU that there is not; what the line does wrong is output */
  async humanMonitorCommand(line: string, cpuIndex: bigint | undefined, request: CommandContext): Promise<string> {
    let output = '';
    const print = (text: string) => {
      output += text;
      if (output.length > MAX_OUTPUT_CHARS) throw genericError('The output of the command is too long');
    };
    // As in QEMU the line has a monitor of its own, which nobody can pass file descriptors to.
    const own: CommandContext = { ...request, fds: new NamedFds(), takeFd: () => undefined };
    if (cpuIndex !== undefined && !this.#options.memory.hasVcpu(cpuIndex)) {
      throw invalidParameter('cpu-index', 'a CPU number');
    }
    const context = this.context(
      { cpu: { index: Number(cpuIndex ?? 0n) }, terminal: undefined, print, room: nextTurn },
      own,
    );
    await this.run(line, context);
    return output.replaceAll('\n', '\r\n');
  }

  /** Runs one line, to the end of what it does. Never rejects for what the line says. */
  async run(line: string, context: MonitorContext): Promise<void> {
    const found = findInLine(line, context);
    if (!found) return;
    let action: () => Promise<void>;
    try {
      const scan = new Scanner(line, found.end);
      scan.skipSpaces();
      action = await found.command.parse(scan, context);
      scan.skipSpaces();
      if (!scan.atEnd) throw new HmpSyntaxError(`${found.command.name}: extraneous characters at the end of line`);
    } catch (error) {
      if (!(error instanceof HmpSyntaxError)) throw error;
      context.print(`${error.message}\nTry "help ${line.slice(0, found.end)}" for more information\n`);
      return;
    }
    try {
      await action();
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      context.print(`Error: ${error.desc}\n`);
    }
  }
}

/** Lets other work of the process have its turn. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The command that a line names, and where its arguments begin. An unknown one is told. */
function findInLine(line: string, { print }: MonitorContext): { command: HmpCommand; end: number } | undefined {
  const scan = new Scanner(line);
  let commands = HMP_COMMANDS;
  let command: HmpCommand | undefined;
  for (;;) {
    const end = scan.at;
    scan.skipSpaces();
    if (scan.atEnd) return command && { command, end };
    const name = scan.take(/[^ \t\n\v\f\r/]*/y) as string;
    command = findHmpCommand(commands, name);
    if (!command) {
      print(`unknown command: '${line.slice(0, scan.at)}'\n`);
      return undefined;
    }
    if (!command.children) return { command, end: scan.at };
    commands = command.children;
  }
}

/** Runs a QMP command as if a client had sent it. */
async function callQmp<C extends CommandName>(
  handlers: CommandHandlers,
  name: C,
  args: JsonObject,
  request: CommandContext,
): Promise<CommandReturns<C>> {
  const handler = handlers[name] as ((args: object, context: CommandContext) => unknown) | undefined;
  const command = findCommand(name);
  if (!handler || !command) throw commandNotFound(texts.commandNotFound(name));
  return (await handler(command.readArguments(args), request)) as CommandReturns<C>;
}
