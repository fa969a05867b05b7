/** Commands that change and tell the run state. */
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

export function lifecycleCommands({ lifecycle, quit }: CommandTargets): CommandHandlers {
  return {
    'query-status': () => ({ status: lifecycle.status, singlestep: false, running: lifecycle.running }),
    stop: () => lifecycle.stop(),
    cont: () => lifecycle.cont(),
    system_reset: () => lifecycle.systemReset(),
    quit: () => {
      lifecycle.announceShutdown({ guest: false, reason: 'host-qmp-quit' });
      quit();
    },
  };
}
