/** Commands about file descriptors that clients pass over SCM_RIGHTS. */
import { genericError } from '../../protocol/qmp_errors.js';
import type { CommandContext } from '../qmp/connection.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

function passedFd(context: CommandContext): number {
  const fd = context.takeFd();
  if (fd === undefined) throw genericError('No file descriptor supplied via SCM_RIGHTS');
  return fd;
}

export function fdCommands({ fdSets }: CommandTargets): CommandHandlers {
  return {
    getfd: ({ fdname }, context) => context.fds.add(fdname, passedFd(context)),
    closefd: ({ fdname }, context) => context.fds.close(fdname),
    'add-fd': ({ 'fdset-id': id, opaque }, context) => fdSets.add(passedFd(context), id, opaque),
    'remove-fd': ({ 'fdset-id': id, fd }) => fdSets.remove(id, fd),
    'query-fdsets': () => fdSets.query(),
  };
}
