/** QMP commands and who does them. Each is one line or two: the work is elsewhere. */

import { genericError } from '../../protocol/qmp_errors.js';
import type { DaemonOptions } from '../cli/options.js';
import type { Lifecycle } from '../lifecycle/lifecycle.js';
import type { Machine } from '../machine/machine.js';
import type { Migrations } from '../migration/migrations.js';
import { SettingError } from '../migration/policy/index.js';
import type { CommandHandlers } from '../qmp/server.js';

export interface CommandTargets {
  options: DaemonOptions;
  machine: Machine;
  lifecycle: Lifecycle;
  migrations: Migrations;
  /** Ends the daemon once the reply is out. */
  quit: () => void;
}

export function commandHandlers({ options, machine, lifecycle, migrations, quit }: CommandTargets): CommandHandlers {
  return {
    'query-status': () => ({ status: lifecycle.status, singlestep: false, running: lifecycle.running }),
    'query-name': () => (options.name === undefined ? {} : { name: options.name }),
    'query-uuid': () => ({ UUID: options.uuid }),
    'query-kvm': () => ({ enabled: true, present: true }),
    'query-cpus-fast': () =>
      machine.vcpus.map((vcpu) => ({
        'cpu-index': vcpu.id,
        'qom-path': `/machine/unattached/device[${vcpu.id}]`,
        'thread-id': vcpu.threadId,
        props: { 'socket-id': 0, 'core-id': vcpu.id, 'thread-id': 0 },
        target: 'x86_64' as const,
      })),
    stop: () => lifecycle.stop(),
    cont: () => lifecycle.cont(),
    system_reset: () => lifecycle.systemReset(),
    quit: () => {
      lifecycle.announceShutdown({ guest: false, reason: 'host-qmp-quit' });
      quit();
    },
    migrate: (args) => migrations.migrate(args),
    'migrate-incoming': ({ uri }) => migrations.receive(uri),
    migrate_cancel: () => migrations.cancel(),
    'query-migrate': () => migrations.info(),
    'migrate-set-parameters': (args) => migrations.setParameters(args),
    'query-migrate-parameters': () => migrations.parameters,
    'migrate-set-capabilities': ({ capabilities }) => migrations.setCapabilities(capabilities),
    'query-migrate-capabilities': () => migrations.capabilities,
    'set-mplm-migration': (args) => {
      try {
        migrations.setMplm(args);
      } catch (error) {
        if (error instanceof SettingError) throw genericError(error.message);
        throw error;
      }
    },
    'set-mplm-extend-live': () => migrations.extendLive(),
    'set-mplm-end-live': () => migrations.endLive(),
  };
}
