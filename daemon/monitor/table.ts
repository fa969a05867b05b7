/** Every command of the human monitor. */

import { command, type HmpCommand, type MonitorContext } from './command.js';
import { BASIC_COMMANDS } from './commands/basics.js';
import { CALC_DIRTY_RATE, INFO_DIRTY_RATE } from './commands/dirty_rate.js';
import { DUMP_COMMAND, INFO_DUMP } from './commands/dump.js';
import { INFO_MACHINE } from './commands/info_machine.js';
import { INFO_MIGRATION } from './commands/info_migration.js';
import { INFO_REGISTERS } from './commands/info_registers.js';
import { MEMORY_COMMANDS } from './commands/memory.js';
import { MIGRATION_COMMANDS } from './commands/migration.js';
import { RUN_STATE_COMMANDS } from './commands/run_state.js';
import { showHelp } from './help.js';
import { optional, restOfLine } from './parameters.js';

const help = command({
  name: 'help|?',
  params: '[cmd]',
  help: 'show what commands do',
  args: { name: optional(restOfLine) },
  run: ({ name = '' }, monitor: MonitorContext) => showHelp(HMP_COMMANDS, name, monitor),
  complete: async () => HMP_COMMANDS.flatMap(({ name }) => name.split('|')),
});

const info = command({
  name: 'info',
  params: '[subcommand]',
  help: 'show the state of something',
  children: [...INFO_MACHINE, INFO_REGISTERS, INFO_DUMP, INFO_DIRTY_RATE, ...INFO_MIGRATION],
  run: (_, monitor) => showHelp(HMP_COMMANDS, 'info', monitor),
});

export const HMP_COMMANDS: readonly HmpCommand[] = [
  help,
  info,
  ...BASIC_COMMANDS,
  ...RUN_STATE_COMMANDS,
  ...MIGRATION_COMMANDS,
  ...MEMORY_COMMANDS,
  DUMP_COMMAND,
  CALC_DIRTY_RATE,
];
