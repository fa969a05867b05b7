/** Commands that read the guest's memory, or prod its vCPUs from outside. */
import { genericError } from '../../protocol/qmp_errors.js';
import type { CommandHandlers } from '../qmp/server.js';
import { queryStats, queryStatsSchemas } from '../stats/kvm_stats.js';
import type { CommandTargets } from './targets.js';

export function memoryCommands({ machine, inspection }: CommandTargets): CommandHandlers {
  return {
    memsave: ({ val, size, filename, 'cpu-index': vcpu }) => inspection.saver.saveVirtual(val, size, filename, vcpu),
    pmemsave: ({ val, size, filename }) => inspection.saver.savePhysical(val, size, filename),
    'inject-nmi': async () => {
      if (!machine) throw genericError('this feature or command is not currently supported');
      await machine.injectNmi();
    },
    'dump-guest-memory': (args, { fds }) => inspection.dump.dump(args, fds),
    'query-dump': () => inspection.dump.query(),
    'query-dump-guest-memory-capability': () => ({ formats: ['elf'] }),
    'calc-dirty-rate': (args) => inspection.dirtyRate.calc(args),
    'query-dirty-rate': () => inspection.dirtyRate.query(),
    'query-stats': (filter) => queryStats(machine, filter),
    'query-stats-schemas': () => queryStatsSchemas(machine),
  };
}
