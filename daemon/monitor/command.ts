/** What a monitor command is: one row of the table from which parsing, help, completion and refusals come. */
import type { JsonObject } from '../../protocol/json_value.js';
import type { CommandName, CommandReturns } from '../../schemas/generated/qmp.js';
import type { Machine } from '../machine/machine.js';
import type { GuestMemory } from '../memory/guest_memory.js';
import type { ReadRegister } from './expression.js';
import type { MemoryFormatMemory } from './memory_format.js';
import type { Parameter } from './parameters.js';
import type { Scanner } from './scanner.js';

/** Somebody at a terminal, as opposed to a line that came by QMP. */
export interface Terminal {
  /** Lines typed so far, oldest first. */
  readonly history: readonly string[];
  /** Nothing more is read from the terminal, and no prompt shown. */
  end(): void;
}

/** Which CPU is a monitor's current one. */
export interface CurrentCpu {
  index: number;
}

/** What a command runs with. */
export interface MonitorContext {
  readonly memory: GuestMemory;
  /** Undefined for `-machine none`. */
  readonly machine: Machine | undefined;
  /** The current CPU, which commands about one CPU are about; `cpu` changes it. */
  readonly cpu: CurrentCpu;
  readonly terminal: Terminal | undefined;
  readonly format: MemoryFormatMemory;
  readonly register: ReadRegister;
  /** Shows text; its lines end in `\n`. */
  print(text: string): void;
  /** Resolves when what was shown has left enough room for more. */
  room(): Promise<void>;
  /** Runs a QMP command; its arguments are checked as those of a client. Integers are bigint. @throws QmpError */
  qmp<C extends CommandName>(name: C, args?: JsonObject): Promise<CommandReturns<C>>;
}

export interface HmpCommand {
  /** Its name and aliases, as `quit|q`. */
  readonly name: string;
  /** Parameters as `help` shows them. */
  readonly params: string;
  /** What it does, as `help` shows it. */
  readonly help: string;
  /** Commands below this one, as those of `info`. */
  readonly children?: readonly HmpCommand[];
  /** Words that may come next, after the words given so far. */
  readonly complete?: (given: readonly string[], monitor: MonitorContext) => Promise<readonly string[]>;
  /** Reads the arguments, all of them, and gives what is then to be done. @throws HmpSyntaxError */
  readonly parse: (scan: Scanner, monitor: MonitorContext) => Promise<() => Promise<void>>;
}

type Parameters = Readonly<Record<string, Parameter<unknown>>>;
type Values<P extends Parameters> = { readonly [K in keyof P]: P[K] extends Parameter<infer T> ? T : never };

/** Makes a command of its description. The order of `args` is that on the command line. */
export function command<P extends Parameters = Record<string, never>>(description: {
  readonly name: string;
  readonly params?: string;
  readonly help: string;
  readonly args?: P;
  readonly children?: readonly HmpCommand[];
  readonly complete?: HmpCommand['complete'];
  readonly run: (args: Values<P>, monitor: MonitorContext) => void | Promise<void>;
}): HmpCommand {
  const { run, args, params = '', ...rest } = description;
  const parameters = Object.entries(args ?? {});
  return {
    ...rest,
    params,
    async parse(scan, monitor) {
      const values: Record<string, unknown> = {};
      for (const [index, [key, parameter]] of parameters.entries()) {
        const laterFlags = parameters.slice(index + 1).map(([, { letter = '' }]) => letter);
        values[key] = await parameter.read(scan, {
          command: rest.name,
          register: monitor.register,
          format: monitor.format,
          laterFlags: laterFlags.join(''),
        });
      }
      return async () => run(values as Values<P>, monitor);
    },
  };
}

/** The command of a name or alias. */
export function findHmpCommand(commands: readonly HmpCommand[], name: string): HmpCommand | undefined {
  return commands.find((entry) => entry.name.split('|').includes(name));
}
