/** Commands about the object model: the tree of what there is, and the types. */
import { genericError, invalidParameter, QmpError } from '../../protocol/qmp_errors.js';
import type { ObjectPropertyInfo } from '../../schemas/generated/qmp.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { QomObject } from '../qom/object.js';
import { qomTree } from '../qom/tree.js';
import { findType, isA, propertiesOf, QOM_TYPES } from '../qom/types.js';
import type { CommandTargets } from './targets.js';

const notFound = (what: string, name: string) => new QmpError('DeviceNotFound', `${what} '${name}' not found`);

/** What every device has by being one; device-list-properties leaves it out (qom/qom-qmp-cmds.c of QEMU 7.2). */
const OF_EVERY_DEVICE: readonly string[] = ['type', 'realized', 'hotpluggable', 'hotplugged', 'parent_bus'];

export function qomCommands({ options }: Pick<CommandTargets, 'options'>): CommandHandlers {
  let tree: QomObject | undefined;
  const resolve = (path: string): QomObject => {
    tree ??= qomTree(options);
    const found = tree.resolve(path);
    if (found === undefined || found === 'ambiguous') throw notFound('Device', path);
    return found;
  };
  const owner = (path: string, property: string): QomObject => {
    const object = resolve(path);
    if (!object.has(property)) throw genericError(`Property '${object.type}.${property}' not found`);
    return object;
  };
  return {
    'qom-list': ({ path }) => {
      tree ??= qomTree(options);
      if (tree.resolve(path) === 'ambiguous') throw genericError(`Path '${path}' is ambiguous`);
      return resolve(path).properties as ObjectPropertyInfo[];
    },
    'qom-get': ({ path, property }) => owner(path, property).get(property),
    'qom-set': ({ path, property }) => {
      throw genericError(`Property '${owner(path, property).type}.${property}' is not writable`);
    },
    'qom-list-types': ({ implements: ancestor = 'object', abstract: withAbstract = false }) =>
      Object.entries(QOM_TYPES)
        .filter(([name, { abstract }]) => isA(name, ancestor) && (withAbstract || !abstract))
        .map(([name, { abstract, parent }]) => ({ name, abstract, parent })),
    'qom-list-properties': ({ typename }) => {
      if (!findType(typename)) throw notFound('Class', typename);
      return propertiesOf(typename).map(({ 'default-value': _, ...property }) => property);
    },
    'device-list-properties': ({ typename }) => {
      const type = findType(typename);
      if (!type) throw notFound('Device', typename);
      if (type.abstract || !isA(typename, 'device')) {
        throw invalidParameter('typename', 'a non-abstract device type');
      }
      return propertiesOf(typename).filter(({ name }) => !OF_EVERY_DEVICE.includes(name)) as ObjectPropertyInfo[];
    },
  };
}
