/** Commands about migration. */
import { genericError } from '../../protocol/qmp_errors.js';
import { SettingError } from '../migration/policy/index.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

export function migrationCommands({ migrations }: CommandTargets): CommandHandlers {
  return {
    migrate: (args, { fds }) => migrations.migrate(args, (name) => fds.take(name)),
    'migrate-incoming': ({ uri }, { fds }) => migrations.receive(uri, (name) => fds.take(name)),
    migrate_cancel: () => migrations.cancel(),
    'query-migrate': () => migrations.info(),
    'migrate-continue': ({ state }) => migrations.continue(state),
    'migrate-start-postcopy': () => {
      throw genericError('Enable postcopy with migrate_set_capability before the start of migration');
    },
    'migrate-pause': () => {
      throw genericError('migrate-pause is currently only supported during postcopy-active state');
    },
    'migrate-recover': () => {
      throw genericError('Migrate recover can only be run when postcopy is paused.');
    },
    // There is no network interface on which a guest could be announced.
    'announce-self': () => undefined,
    'set-vcpu-dirty-limit': () => {
      throw genericError("dirty page limit feature requires KVM with accelerator property 'dirty-ring-size' set'");
    },
    'cancel-vcpu-dirty-limit': () => undefined,
    'query-vcpu-dirty-limit': () => [],
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
    'live-checkpointing-enable': () => migrations.setCheckpointing(true),
    'live-checkpointing-disable': () => migrations.setCheckpointing(false),
    'enable-max-migration-rate-limit': () => migrations.liftRateLimit(true),
    'disable-max-migration-rate-limit': () => migrations.liftRateLimit(false),
    'set-mplm-extend-live': () => migrations.extendLive(),
    'set-mplm-end-live': () => migrations.endLive(),
  };
}
