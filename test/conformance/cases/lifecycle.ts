/** Sequences of commands that change the run state, under every choice of what happens at its end. */
import type { Step, Transcript } from '../transcript.js';
import { command, NONE, PC } from './machines.js';
import { pick, random } from './random.js';

const MACHINES: { readonly [name: string]: readonly string[] } = {
  running: PC,
  paused: [...PC, '-S'],
  'no-reboot': [...PC, '-no-reboot'],
  'no-shutdown': [...PC, '-no-shutdown'],
  'no-reboot-no-shutdown': [...PC, '-no-reboot', '-no-shutdown'],
  'action-shutdown': [...PC, '-action', 'reboot=shutdown,shutdown=pause'],
  none: NONE,
};

const COMMANDS = [
  ...[
    'stop',
    'cont',
    'query-status',
    'system_reset',
    'system_powerdown',
    'system_wakeup',
    'query-status',
    'stop',
    'cont',
  ].map((name) => command(name)),
  ...['reset', 'shutdown'].map((reboot) => command('set-action', { reboot })),
  ...['poweroff', 'pause'].map((shutdown) => command('set-action', { shutdown })),
  ...['pause', 'shutdown', 'exit-failure', 'none'].map((panic) => command('set-action', { panic })),
  ...['reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none', 'inject-nmi'].map((action) =>
    command('watchdog-set-action', { action }),
  ),
  command('set-action', {}),
  command('set-action', { reboot: 'reset', shutdown: 'poweroff', panic: 'pause', watchdog: 'none' }),
];

export function lifecycleCases(): Transcript[] {
  const next = random(3);
  return Object.entries(MACHINES).flatMap(([machine, qemu_args]) =>
    Array.from({ length: 6 }, (_, number) => {
      const steps: Step[] = Array.from({ length: 12 }, (_, i) => {
        const what = pick(next, COMMANDS);
        // Each sequence begins and ends by asking.
        const send = i === 0 || i === 11 ? command('query-status') : number === 5 && i === 10 ? command('quit') : what;
        return { send, recv: '', settleMs: 60 };
      });
      return { name: `lifecycle-${machine}-${number}`, group: 'events', negotiated: true, qemu_args, steps };
    }),
  );
}
