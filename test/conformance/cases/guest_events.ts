/** What a guest does with its ports, and what that makes of the run state. */
import type { Step, Transcript } from '../transcript.js';
import { command, PC } from './machines.js';

const HALT = '1: cli\n  hlt\n  jmp 1b\n';
const out = (port: number, value: number, width: 'b' | 'w' | 'l' = 'b'): string => {
  const register = { b: 'al', w: 'ax', l: 'eax' }[width];
  return `  mov $${port},%dx\n  mov $${value},%${register}\n  out${width} %${register},%dx\n`;
};
/** Sets the base of the power management ports to 0x600 and switches them on, as firmware does by PCI. */
const POWER_MANAGEMENT = [
  out(0xcf8, 0x80000b40, 'l'),
  out(0xcfc, 0x601, 'l'),
  out(0xcf8, 0x80000b80, 'l'),
  out(0xcfc, 1),
].join('');
const SOFT_OFF = POWER_MANAGEMENT + out(0x604, 0x2000, 'w');
/** Does something the first time only: memory of the clock chip outlives a reset. */
const once = (code: string): string =>
  `  mov $0x60,%al\n  out %al,$0x70\n  in $0x71,%al\n  cmp $0x5a,%al\n  je 1f\n${out(0x70, 0x60)}${out(0x71, 0x5a)}${code}${HALT}`;

const RESETS: { readonly [name: string]: string } = {
  kbd: out(0x64, 0xfe),
  cf9: out(0xcf9, 0x06),
  port92: '  in $0x92,%al\n  or $1,%al\n  out %al,$0x92\n',
  'triple-fault': '  lidt 2f\n  int3\n2: .word 0,0,0\n',
};

interface Guest {
  readonly code: string;
  readonly args?: readonly string[];
  readonly settleMs?: number;
  /** What is done after the guest has run. */
  readonly afterwards?: readonly string[];
}

const ASK = command('query-status');
const AFTERWARDS = [ASK, command('cont'), ASK, command('system_reset'), ASK, command('cont'), ASK];

function guests(): { [name: string]: Guest } {
  const made: { [name: string]: Guest } = {
    shutdown: { code: SOFT_OFF },
    'shutdown-no-shutdown': { code: SOFT_OFF, args: ['-no-shutdown'], afterwards: AFTERWARDS },
    'shutdown-action-pause': {
      code: SOFT_OFF,
      args: ['-action', 'shutdown=pause'],
      afterwards: [ASK, command('stop'), command('system_powerdown'), command('quit')],
    },
    'shutdown-set-action': {
      code: HALT,
      afterwards: [command('set-action', { shutdown: 'pause' }), ASK, command('system_reset'), ASK],
    },
    'halt-and-powerdown': {
      code: HALT,
      afterwards: [command('system_powerdown'), ASK, command('stop'), ASK, command('inject-nmi')],
    },
    'debug-exit-0': { code: out(0xf4, 0), args: ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'] },
    'debug-exit-31': { code: out(0xf4, 31), args: ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'] },
    'panic-and-crash-loaded': {
      code: out(0x505, 3) + HALT,
      args: ['-device', 'pvpanic', '-action', 'panic=none'],
      afterwards: [ASK],
    },
    'panic-twice': {
      code: out(0x505, 1) + out(0x505, 1) + HALT,
      args: ['-device', 'pvpanic', '-action', 'panic=none'],
      afterwards: [ASK],
    },
    'panic-unknown-bits': { code: out(0x505, 0x80) + HALT, args: ['-device', 'pvpanic'], afterwards: [ASK] },
    'panic-pause': {
      code: out(0x505, 1) + HALT,
      args: ['-device', 'pvpanic', '-action', 'panic=pause'],
      afterwards: AFTERWARDS,
    },
    'panic-shutdown': { code: out(0x505, 1) + HALT, args: ['-device', 'pvpanic', '-action', 'panic=shutdown'] },
    'panic-default': { code: out(0x505, 1) + HALT, args: ['-device', 'pvpanic'] },
    'panic-exit-failure': { code: out(0x505, 1) + HALT, args: ['-device', 'pvpanic', '-action', 'panic=exit-failure'] },
    'panic-no-shutdown': {
      code: out(0x505, 1) + HALT,
      args: ['-device', 'pvpanic', '-no-shutdown'],
      afterwards: AFTERWARDS,
    },
    'crash-loaded': { code: out(0x505, 2) + HALT, args: ['-device', 'pvpanic'], afterwards: [ASK] },
    'panic-ioport': {
      code: out(0x510, 1) + HALT,
      args: ['-device', 'pvpanic,ioport=0x510', '-action', 'panic=none'],
      afterwards: [ASK],
    },
    'no-panic-device': { code: out(0x505, 1) + HALT, afterwards: [ASK] },
  };
  for (const [name, code] of Object.entries(RESETS)) {
    made[`reset-${name}`] = { code: once(code), afterwards: [ASK] };
    made[`reset-${name}-no-reboot`] = { code: once(code), args: ['-no-reboot'] };
    made[`reset-${name}-no-reboot-no-shutdown`] = {
      code: once(code),
      args: ['-no-reboot', '-no-shutdown'],
      afterwards: AFTERWARDS,
    };
  }
  for (const action of ['reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none', 'inject-nmi']) {
    const code = action === 'reset' ? once(out(0x443, 15)) : out(0x443, 15) + HALT;
    made[`watchdog-${action}`] = {
      code,
      args: ['-device', 'ib700', '-action', `watchdog=${action}`],
      settleMs: 700,
      afterwards: [ASK],
    };
    made[`watchdog-set-${action}`] = {
      code: HALT,
      args: ['-device', 'ib700'],
      afterwards: [command('watchdog-set-action', { action }), ASK],
    };
  }
  made['watchdog-disabled-in-time'] = {
    code: out(0x443, 14) + out(0x441, 0) + HALT,
    args: ['-device', 'ib700'],
    settleMs: 2500,
    afterwards: [ASK],
  };
  made['watchdog-pause-then-cont'] = {
    code: out(0x443, 15) + HALT,
    args: ['-device', 'ib700', '-action', 'watchdog=pause'],
    settleMs: 700,
    afterwards: [ASK, command('cont'), ASK],
  };
  made['watchdog-option'] = {
    code: out(0x443, 15) + HALT,
    args: ['-device', 'ib700', '-watchdog-action', 'pause'],
    settleMs: 700,
    afterwards: [ASK],
  };
  return made;
}

export function guestCases(): Transcript[] {
  return Object.entries(guests()).map(([name, { code, args = [], settleMs = 250, afterwards = [] }]) => {
    const steps: Step[] = [command('cont'), ...afterwards].map((send, i) => ({
      send,
      recv: '',
      settleMs: i === 0 ? settleMs + 100 : 150,
    }));
    // The reply to `cont` is there before the guest does anything.
    const boot_asm = `  mov $0xffff,%cx\n3: out %al,$0x80\n  loop 3b\n${code}`;
    const qemu_args = [...PC, '-S', ...args, '-bios', `@TMP@/${name}.bin`];
    return { name: `guest-${name}`, group: 'guest-events', negotiated: true, qemu_args, boot_asm, steps };
  });
}
