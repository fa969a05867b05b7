/** Commands about migration. */
import { genericError } from '../../protocol/qmp_errors.js';
import { SettingError } from '../migration/policy/index.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

export function migrationCommands({ migrations }: CommandTargets): CommandHandlers {
  return {
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
