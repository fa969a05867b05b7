import { type CommandHandlers, QmpServer, type QmpServerOptions } from '../../daemon/qmp/server.js';
import { genericError } from '../../protocol/qmp_errors.js';
import type { RunState } from '../../schemas/generated/qmp.js';

export const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** The version of the QEMU that vmhostd is measured by. */
export const VERSION = { qemu: { major: 7, minor: 2, micro: 22 }, package: 'Debian 1:7.2+dfsg-7+deb12u18+b3' };

export interface ModelOptions extends Partial<QmpServerOptions> {
  /** Started with -S. */
  readonly startPaused?: boolean;
  /** Started with -no-reboot. */
  readonly noReboot?: boolean;
  /** Called once quit, or a reset that shuts down, has been answered. */
  readonly onShutdown?: () => void;
}

/** A QMP server over a machine that is nothing but a run state: what QEMU answers without a guest. */
export function modelServer(options: ModelOptions = {}): QmpServer {
  let status: RunState = options.startPaused ? 'prelaunch' : 'running';
  const action = { reboot: options.noReboot ? 'shutdown' : 'reset', shutdown: 'poweroff' };
  const shutdown = (reason: 'host-qmp-quit' | 'host-qmp-system-reset'): void => {
    server.emit('SHUTDOWN', { guest: false, reason });
    if (reason !== 'host-qmp-quit' && action.shutdown === 'pause') {
      if (status === 'running') server.emit('STOP');
      status = 'shutdown';
      return;
    }
    void server.drain().then(() => (options.onShutdown ? options.onShutdown() : server.close()));
  };
  const handlers: CommandHandlers = {
    'query-name': () => ({}),
    'query-status': () => ({ running: status === 'running', singlestep: false, status }),
    stop: () => {
      if (status !== 'running') return;
      status = 'paused';
      server.emit('STOP');
    },
    cont: () => {
      if (status === 'shutdown') throw genericError('Resetting the Virtual Machine is required');
      if (status === 'running') return;
      status = 'running';
      server.emit('RESUME');
    },
    system_reset: () => {
      if (action.reboot === 'shutdown') shutdown('host-qmp-system-reset');
      else server.emit('RESET', { guest: false, reason: 'host-qmp-system-reset' });
    },
    quit: () => shutdown('host-qmp-quit'),
    'migrate-pause': () => {
      throw genericError('migrate-pause is currently only supported during postcopy-active state');
    },
    'migrate-recover': () => {
      throw genericError('Migrate recover can only be run when postcopy is paused.');
    },
    yank: () => {},
    'set-action': (args) => void Object.assign(action, args),
    'human-monitor-command': () => `${VERSION.qemu.major}.2.22${VERSION.package}\r\n`,
    ...options.handlers,
  };
  const server: QmpServer = new QmpServer({
    version: () => VERSION,
    log: SILENT,
    ...options,
    handlers,
  });
  return server;
}
