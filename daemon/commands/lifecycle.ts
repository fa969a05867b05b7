/** Commands that change and tell the run state. */
import { genericError } from '../../protocol/qmp_errors.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

export function lifecycleCommands({ lifecycle, machine, migrations, quit }: CommandTargets): CommandHandlers {
  return {
    'query-status': () => ({ status: lifecycle.status, singlestep: false, running: lifecycle.running }),
    stop: () => lifecycle.stop(),
    cont: () => lifecycle.cont(),
    system_reset: () => lifecycle.systemReset(),
    system_powerdown: () => lifecycle.powerdown(),
    system_wakeup: () => {
      if (!machine) throw genericError('wake-up from suspend is not supported by this guest');
      return lifecycle.wakeup();
    },
    'set-action': (actions) => lifecycle.setActions(actions),
    'watchdog-set-action': ({ action }) => lifecycle.setActions({ watchdog: action }),
    quit: () => {
      lifecycle.announceShutdown({ guest: false, reason: 'host-qmp-quit' });
      migrations.abandon();
      quit();
    },
  };
}
