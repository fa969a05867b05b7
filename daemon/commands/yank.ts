/** Commands that cut connections which hang. */
import { QmpError } from '../../protocol/qmp_errors.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

type Instance = { readonly type: string; readonly id?: string };

export function yankCommands({ chardevs, migrations }: CommandTargets): CommandHandlers {
  const action = ({ type, id }: Instance): (() => void) | undefined => {
    if (type === 'migration' && migrations.yankable) return () => migrations.yank();
    const chardev = type === 'chardev' ? chardevs.yankable.find((one) => one.id === id) : undefined;
    return chardev && (() => chardev.yank());
  };
  return {
    'query-yank': () => [
      ...(migrations.yankable ? [{ type: 'migration' } as const] : []),
      ...chardevs.yankable.map(({ id }) => ({ type: 'chardev', id }) as const),
    ],
    yank: ({ instances }) => {
      const actions = instances.map((instance) => {
        const found = action(instance as Instance);
        if (!found) throw new QmpError('DeviceNotFound', 'Instance not found');
        return found;
      });
      for (const act of actions) act();
    },
  };
}
