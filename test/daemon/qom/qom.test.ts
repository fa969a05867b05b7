/** The object model: paths, the tree of a PC and of no machine, types; beside QEMU's own answers where it is installed. */
import t from 'tap';
import { parseOptions } from '../../../daemon/cli/options.js';
import { QomObject } from '../../../daemon/qom/object.js';
import { qomTree } from '../../../daemon/qom/tree.js';
import { findType, QOM_TYPES } from '../../../daemon/qom/types.js';
import { answer } from '../../helpers/answers.js';
import { DaemonProcess, MACHINE_NONE, MACHINE_PC, QMP_SOCKET } from '../../helpers/daemon.js';
import { noKvm } from '../../helpers/daemons.js';
import { noQemu72, startQemu } from '../../helpers/qemu.js';

const tree = (...args: string[]) => qomTree(parseOptions(args));

/** Every object of a tree. */
function all(object: QomObject): QomObject[] {
  const children = object.properties.filter(({ type }) => type.startsWith('child<'));
  return [object, ...children.flatMap(({ name }) => all(at(object, name)))];
}

function at(root: QomObject, path: string): QomObject {
  const found = root.resolve(path.startsWith('/') ? path : `/${path}`);
  if (!(found instanceof QomObject)) throw new Error(`${path} leads nowhere`);
  return found;
}

t.test('a path leads through children and links, from the root or from anywhere', async (t) => {
  const root = tree('-m', '64');
  for (const path of ['/machine', '//machine/', 'machine']) t.equal(root.resolve(path), at(root, '/machine'), path);
  t.equal(root.resolve('/'), root);
  t.equal(root.resolve('/machine/memory-backend'), at(root, '/objects/pc.ram'), 'a link is followed');
  t.equal(root.resolve('memory-backend'), at(root, '/objects/pc.ram'));
  t.equal(root.resolve('pc.ram'), at(root, '/objects/pc.ram'));
  t.equal(root.resolve(''), 'ambiguous');
  for (const path of ['/nope', 'nope', '/machine/nope', '/machine/type', '/machine/pc.ram', 'pc.ram/type']) {
    t.equal(root.resolve(path), undefined, path);
  }
  const twice = new QomObject('container');
  for (const name of ['a', 'b']) twice.add(name, new QomObject('container')).add('same', new QomObject('container'));
  t.equal(twice.resolve('same'), 'ambiguous');
  t.equal(twice.resolve('a/same'), at(twice, '/a/same'));
});

t.test('every object has a known type, a value for each property, and its own path', async (t) => {
  const devices = ['-device', 'isa-debug-exit', '-chardev', 'null,id=c0', '-smp', '3'];
  for (const root of [tree(), tree('-machine', 'none'), tree(...devices)]) {
    for (const object of all(root)) {
      t.ok(findType(object.type), `${object.path} is of type ${object.type}`);
      t.equal(root.resolve(object.path), object);
      for (const { name, type } of object.properties) {
        const value = object.get(name);
        t.ok(object.has(name));
        if (/^(child|link)</.test(type)) t.type(value, 'string', `${object.path} ${name}`);
        else if (type !== 'string') t.not(value, '', `${object.path} ${name}`);
      }
    }
  }
});

t.test('types lead to object', async (t) => {
  for (const [name, { parent }] of Object.entries(QOM_TYPES)) {
    t.equal(parent === undefined, name === 'object', name);
    if (parent !== undefined) t.ok(findType(parent), `${name} extends ${parent}`);
  }
});

t.test('the tree shows what the command line asked for', async (t) => {
  const root = tree(
    ...[
      '-m',
      '64',
      '-smp',
      '4,sockets=2',
      '-cpu',
      'qemu64',
      '-append',
      'x',
      '-kernel',
      '/k',
      '-device',
      'isa-debug-exit,iobase=0xf4',
    ],
    ...['-object', 'memory-backend-memfd,id=mem0,size=64M', '-machine', 'memory-backend=mem0'],
  );
  const machine = at(root, '/machine');
  t.match([machine.get('kernel'), machine.get('append'), machine.get('initrd')], ['/k', 'x', '']);
  t.match(machine.get('smp'), { cpus: 4, sockets: 2, cores: 2, threads: 1, maxcpus: 4 });
  t.equal(machine.get('memory-backend'), '/objects/mem0');
  t.match([at(root, '/objects/mem0').type, at(root, '/objects/mem0').get('size')], ['memory-backend-memfd', 2 ** 26]);
  const vcpus = all(root).filter(({ type }) => type === 'qemu64-x86_64-cpu');
  t.same(vcpus.map((vcpu) => [vcpu.path.replace(/.*device/, ''), vcpu.get('socket-id'), vcpu.get('core-id')]).sort(), [
    ['[0]', 0, 0],
    ['[2]', 0, 1],
    ['[3]', 1, 0],
    ['[4]', 1, 1],
  ]);
  t.equal(at(root, '/machine/peripheral-anon/device[0]').get('iobase'), 0xf4);
});

const SAME: ReadonlyArray<readonly [string, object?]> = [
  ['qom-list', { path: '/' }],
  ['qom-list', { path: '/objects' }],
  ['qom-list', { path: '/chardevs' }],
  ['qom-list', { path: '/machine/peripheral' }],
  ['qom-list', { path: '' }],
  ['qom-list', { path: 'nope' }],
  ['qom-list', { path: '/machine/type' }],
  ['qom-list'],
  ['qom-get', { path: '', property: 'type' }],
  ['qom-get', { path: 'machine', property: 'type' }],
  ['qom-get', { path: '/', property: 'machine' }],
  ['qom-get', { path: '/', property: 'type' }],
  ['qom-get', { path: '/nope', property: 'type' }],
  ['qom-get', { path: '/objects', property: 'nope' }],
  ['qom-get', { path: '/machine', property: 'memory-backend' }],
  ['qom-get', { path: '/machine', property: 'memory' }],
  ['qom-get', { path: '/machine', property: 'smp' }],
  ['qom-get', { path: '/machine', property: 'nope' }],
  ['qom-get', { path: '/machine/memory-backend', property: 'size' }],
  ['qom-get', { path: '/machine/unattached/device[0]', property: 'realized' }],
  ['qom-get', { path: '/machine/unattached/device[0]', property: 'core-id' }],
  ['qom-get', { path: '/machine/unattached/device[11]', property: 'type' }],
  ['qom-set', { path: '/machine', property: 'type', value: 'x' }],
  ['qom-set', { path: '/machine', property: 'nope', value: null }],
  ['qom-set', { path: '/machine', property: 'type' }],
  ['qom-list-properties', { typename: 'nope' }],
  ['qom-list-properties', { typename: 'container' }],
  ['qom-list-properties', { typename: 'isa-debug-exit' }],
  ['device-list-properties', { typename: 'nope' }],
  ['device-list-properties', { typename: 'isa-debug-exit' }],
  ['device-list-properties', { typename: 'ib700' }],
  ['device-list-properties', { typename: 'memory-backend-ram' }],
  ['device-list-properties', { typename: 'device' }],
  ['qom-list-types', { implements: 'nope' }],
  ['qom-list-types', { implements: 'none-machine', abstract: true }],
  ['qom-list-types', { implements: 1 }],
];

for (const [name, args, skip] of [
  ['none', MACHINE_NONE, false],
  ['pc', MACHINE_PC, noKvm()],
] as const) {
  t.test(
    `objects of a machine of type ${name} are told as QEMU tells them`,
    { skip: noQemu72() || skip },
    async (t) => {
      const ours = await new DaemonProcess(t, [...args, ...QMP_SOCKET]).qmp();
      t.teardown(() => ours.close());
      const theirs = await startQemu(t, args);
      for (const [command, more] of SAME) {
        t.same(
          await answer(ours, command, more),
          await answer(theirs, command, more),
          `${command} ${JSON.stringify(more)}`,
        );
      }
    },
  );
}

t.test('a running daemon tells its types and its tree', async (t) => {
  const client = await new DaemonProcess(t, [...MACHINE_NONE, ...QMP_SOCKET]).qmp();
  t.teardown(() => client.close());
  const types = await client.execute('qom-list-types', { implements: 'machine' });
  t.same(types.map(({ name }) => name).sort(), ['none-machine', 'pc-i440fx-7.2-machine']);
  const names = (await client.execute('qom-list-types')).map(({ name }) => name);
  t.ok(names.includes('kvm-accel'));
  t.notOk(names.includes('tcg-accel'), 'clients probe for it, and there is none');
  t.match(await client.execute('qom-list', { path: '/chardevs' }), [
    { name: 'type' },
    { name: 'compat_monitor0', type: 'child<chardev-socket>' },
  ]);
  t.equal(await client.execute('qom-get', { path: '/machine', property: 'type' }), 'none-machine');
});
