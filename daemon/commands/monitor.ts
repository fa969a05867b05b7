/** The command that runs the human monitor's. */
import type { HumanMonitor } from '../monitor/human_monitor.js';
import type { CommandHandlers } from '../qmp/server.js';

export function monitorCommands(monitor: HumanMonitor): CommandHandlers {
  return {
    'human-monitor-command': ({ 'command-line': line, 'cpu-index': cpuIndex }, context) =>
      monitor.humanMonitorCommand(line, cpuIndex, context),
  };
}
