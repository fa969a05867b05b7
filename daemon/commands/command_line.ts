/** Commands about what the command line takes. */
import { genericError } from '../../protocol/qmp_errors.js';
import type { CommandLineOptionInfo } from '../../schemas/generated/qmp.js';
import { CHARDEV_KINDS } from '../cli/chardev_options.js';
import { OPTION_LISTS } from '../cli/option_lists.js';
import type { CommandHandlers } from '../qmp/server.js';

export const commandLineCommands: CommandHandlers = {
  'query-command-line-options': ({ option }) => {
    const found = OPTION_LISTS.filter((each) => option === undefined || each.option === option);
    if (found.length === 0) throw genericError(`invalid option name: ${option}`);
    return found as CommandLineOptionInfo[];
  },
  'query-chardev-backends': () => CHARDEV_KINDS.map((name) => ({ name })),
};
