/** Commands that change the run state. */
import { command } from '../command.js';
import { word } from '../parameters.js';
import { checkWord, watchdogActions } from '../values.js';

export const RUN_STATE_COMMANDS = [
  command({ name: 'stop|s', help: 'pause the guest', run: (_, { qmp }) => qmp('stop') }),
  command({ name: 'cont|c', help: 'let a paused guest go on', run: (_, { qmp }) => qmp('cont') }),
  command({ name: 'system_reset', help: 'reset the machine', run: (_, { qmp }) => qmp('system_reset') }),
  command({
    name: 'system_powerdown',
    help: 'press the power button',
    run: (_, { qmp }) => qmp('system_powerdown'),
  }),
  command({
    name: 'system_wakeup',
    help: 'wake a sleeping guest: none sleeps',
    run: (_, { qmp }) => qmp('system_wakeup'),
  }),
  command({
    name: 'watchdog_action',
    params: `[${watchdogActions().join('|')}]`,
    help: 'choose what happens when the watchdog expires',
    args: { action: word() },
    async run({ action }, { qmp }) {
      checkWord(watchdogActions(), action);
      await qmp('watchdog-set-action', { action });
    },
    complete: async ({ length }) => (length === 0 ? watchdogActions() : []),
  }),
  command({
    name: 'quit|q',
    help: 'end the daemon, and the guest with it',
    run: (_, { qmp, terminal }) => {
      terminal?.end();
      return qmp('quit');
    },
  }),
];
