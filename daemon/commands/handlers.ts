/** QMP commands and who does them, an area a file. Each is one line or two: the work is elsewhere. */
import type { CommandHandlers } from '../qmp/server.js';
import { absentCommands } from './absent.js';
import { commandLineCommands } from './command_line.js';
import { cpuCommands } from './cpu.js';
import { fdCommands } from './fds.js';
import { lifecycleCommands } from './lifecycle.js';
import { machineCommands } from './machine.js';
import { memoryCommands } from './memory.js';
import { migrationCommands } from './migration.js';
import { qomCommands } from './qom.js';
import type { CommandTargets } from './targets.js';
import { yankCommands } from './yank.js';

export function commandHandlers(targets: CommandTargets): CommandHandlers {
  return {
    ...absentCommands(targets),
    ...commandLineCommands,
    ...cpuCommands,
    ...qomCommands(targets),
    ...machineCommands(targets),
    ...lifecycleCommands(targets),
    ...migrationCommands(targets),
    ...memoryCommands(targets),
    ...fdCommands(targets),
    ...yankCommands(targets),
  };
}
