/** How the machine starts and ends, what it is called, and what the process is. */
import { ACTIONS } from './daemon_options.js';
import { KeyValues } from './key_values.js';
import type { Draft, OptionSpecs } from './option_spec.js';
import { UsageError } from './values.js';

function action(draft: Draft, value: string): void {
  const args = KeyValues.parse('-action', value);
  const { actions } = draft;
  actions.reboot = args.word('reboot', ACTIONS.reboot, actions.reboot);
  actions.shutdown = args.word('shutdown', ACTIONS.shutdown, actions.shutdown);
  actions.panic = args.word('panic', ACTIONS.panic, actions.panic);
  actions.watchdog = args.word('watchdog', ACTIONS.watchdog, actions.watchdog);
  args.finish();
}

function name(draft: Draft, value: string): void {
  const args = KeyValues.parse('-name', value, 'guest');
  const guest = args.take('guest');
  if (guest !== undefined) draft.name = guest;
  const process = args.take('process');
  if (process !== undefined) draft.processName = process;
  draft.debugThreads = args.boolean('debug-threads', draft.debugThreads);
  args.finish();
}

export const runOptions: OptionSpecs = {
  '-incoming': {
    form: 'tcp:HOST:PORT|unix:PATH|fd:N|exec:COMMAND|defer',
    help: 'wait for a live migration instead of booting',
    apply: (draft, value) => {
      draft.incoming = value;
    },
  },
  '-S': {
    help: "do not start the guest; wait for 'cont'",
    apply: (draft) => {
      draft.paused = true;
    },
  },
  '-action': {
    form: 'EVENT=ACTION,…',
    help: Object.entries(ACTIONS)
      .map(([event, words]) => `${event}=${words.join('|')}`)
      .join(', '),
    apply: action,
  },
  '-watchdog-action': {
    form: 'ACTION',
    help: '-action watchdog=ACTION',
    apply: (draft, value) => action(draft, `watchdog=${value}`),
  },
  '-no-reboot': {
    help: '-action reboot=shutdown: end when the guest resets itself',
    apply: (draft) => {
      draft.actions.reboot = 'shutdown';
    },
  },
  '-no-shutdown': {
    help: '-action shutdown=pause: stop, not end, when the guest shuts down',
    apply: (draft) => {
      draft.actions.shutdown = 'pause';
    },
  },
  '-name': {
    form: '[guest=]NAME[,process=NAME][,debug-threads=on|off]',
    help: "what query-name says; what ps(1) says; whether vCPUs' threads are called CPU 0/KVM, CPU 1/KVM, …",
    apply: name,
  },
  '-uuid': {
    form: 'UUID',
    help: 'what query-uuid says',
    apply: (draft, value) => {
      if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) {
        throw new UsageError(`-uuid: '${value}' is no UUID`);
      }
      draft.uuid = value.toLowerCase();
    },
  },
  '-pidfile': {
    form: 'FILE',
    help: 'write the process id there',
    apply: (draft, value) => {
      draft.pidfile = value;
    },
  },
  '-daemonize': {
    help: 'go on in the background once every socket listens',
    apply: (draft) => {
      draft.daemonize = true;
    },
  },
  '-msg': {
    form: '[timestamp=on|off][,guest-name=on|off]',
    help: 'what sentences on standard error begin with',
    apply: (draft, value) => {
      const args = KeyValues.parse('-msg', value);
      const { timestamp, guestName } = draft.message;
      draft.message = {
        timestamp: args.boolean('timestamp', timestamp),
        guestName: args.boolean('guest-name', guestName),
      };
      args.finish();
    },
  },
};
