/** A human monitor over handlers that a test makes up: no machine, no daemon. */
import { NamedFds } from '../../../daemon/fds/named_fds.js';
import { GuestMemory } from '../../../daemon/memory/guest_memory.js';
import { HumanMonitor } from '../../../daemon/monitor/human_monitor.js';
import type { CommandContext } from '../../../daemon/qmp/connection.js';
import type { CommandHandlers } from '../../../daemon/qmp/server.js';

export const REQUEST: CommandContext = {
  client: 0,
  afterReply: (action) => action(),
  fds: new NamedFds(),
  takeFd: () => undefined,
};

export function modelMonitor(handlers: CommandHandlers = {}): HumanMonitor {
  return new HumanMonitor({ memory: new GuestMemory(undefined), machine: undefined, handlers });
}

/** What a line shows through `human-monitor-command`. */
export function shown(monitor: HumanMonitor, line: string): Promise<string> {
  return monitor.humanMonitorCommand(line, undefined, REQUEST);
}
