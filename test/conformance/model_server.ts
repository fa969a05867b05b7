import { type CommandHandlers, QmpServer, type QmpServerOptions } from '../../daemon/qmp/server.js';
import { commandFromSchema, findCommand } from '../../protocol/qmp_commands.js';
import { genericError } from '../../protocol/qmp_errors.js';
import type { CommandSchema, RunState, SchemaNode } from '../../schemas/generated/qmp.js';

export const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** The version of the QEMU that recorded the transcripts. */
export const VERSION = { qemu: { major: 7, minor: 2, micro: 22 }, package: 'Debian 1:7.2+dfsg-7+deb12u18+b3' };

export interface ModelOptions extends Partial<QmpServerOptions> {
  /** Started with -S. */
  readonly startPaused?: boolean;
  /** Started with -no-reboot. */
  readonly noReboot?: boolean;
  /** Called once quit, or a reset that shuts down, has been answered. */
  readonly onShutdown?: () => void;
}

const string: SchemaNode = { type: 'string', description: 'text' };
const choice = (...values: string[]): SchemaNode => ({ oneOf: values.map((v) => ({ const: v, description: v })) });

/** Commands of QEMU that the daemon does not have, for the parts of the protocol only they reach. */
const EXTRA: { readonly [name: string]: CommandSchema } = Object.fromEntries(
  (
    [
      ['migrate-pause', {}, [], true],
      ['migrate-recover', { uri: string }, ['uri'], true],
      [
        'yank',
        { instances: { type: 'array', items: { type: 'object', additionalProperties: false } } },
        ['instances'],
        true,
      ],
      ['set-action', { reboot: choice('reset', 'shutdown'), shutdown: choice('poweroff', 'pause') }, [], false],
      ['human-monitor-command', { 'command-line': string }, ['command-line'], false],
    ] as Array<[string, { [name: string]: SchemaNode }, string[], boolean]>
  ).map(([title, properties, required, oob]) => [
    title,
    {
      title,
      description: title,
      arguments: { type: 'object', additionalProperties: false, properties, required },
      'x-allow-oob': oob,
      ...(title === 'human-monitor-command' ? { returns: string } : {}),
    } as CommandSchema,
  ]),
);

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
    ...({
      'migrate-pause': () => {
        throw genericError('migrate-pause is currently only supported during postcopy-active state');
      },
      'migrate-recover': () => {
        throw genericError('Migrate recover can only be run when postcopy is paused.');
      },
      yank: () => {},
      'set-action': (args: object) => void Object.assign(action, args),
      'human-monitor-command': () => `${VERSION.qemu.major}.2.22${VERSION.package}\r\n`,
    } as object),
    ...options.handlers,
  };
  const extra = new Map(Object.entries(EXTRA).map(([name, schema]) => [name, commandFromSchema(schema)]));
  const server: QmpServer = new QmpServer({
    version: () => VERSION,
    log: SILENT,
    commands: (name) => findCommand(name) ?? extra.get(name),
    ...options,
    handlers,
  });
  return server;
}
