/** Commands that change the run state. */
import { command } from '../command.js';

export const RUN_STATE_COMMANDS = [
  command({ name: 'stop|s', help: 'pause the guest', run: (_, { qmp }) => qmp('stop') }),
  command({ name: 'cont|c', help: 'let a paused guest go on', run: (_, { qmp }) => qmp('cont') }),
  command({ name: 'system_reset', help: 'reset the machine', run: (_, { qmp }) => qmp('system_reset') }),
  command({
    name: 'quit|q',
    help: 'end the daemon, and the guest with it',
    run: (_, { qmp, terminal }) => {
      terminal?.end();
      return qmp('quit');
    },
  }),
];
