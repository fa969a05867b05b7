/** query-qmp-schema of a running daemon, read as clients of QEMU read it, and compared with QEMU's own. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { COMMANDS } from '../../../schemas/generated/qmp.js';
import { DaemonProcess, MACHINE_NONE, QMP_SOCKET } from '../../helpers/daemon.js';
import { noQemu72, startQemu } from '../../helpers/qemu.js';
import { type Entity, SchemaReader } from '../../helpers/schema_shapes.js';

const DIFFERENCES = new URL('../../../../test/daemon/qmp/schema_differences.txt', import.meta.url);

async function ask(t: Test) {
  const client = await new DaemonProcess(t, [...MACHINE_NONE, ...QMP_SOCKET]).qmp();
  t.teardown(() => client.close());
  return client;
}

t.test('the schema has exactly the commands that can be executed, and every event', async (t) => {
  const client = await ask(t);
  const reader = new SchemaReader((await client.execute('query-qmp-schema')) as Entity[]);
  const commands = (await client.execute('query-commands')).map(({ name }) => name);
  t.same(reader.commands.toReversed(), commands, 'query-commands lists the last first, as QEMU does');
  t.same(commands.sort(), Object.keys(COMMANDS).sort(), 'every command of the schemas has someone who does it');
  t.ok(reader.events.includes('SHUTDOWN') && reader.events.includes('MIGRATION'));
});

t.test('every type that is referred to is there, and every type there is referred to', async (t) => {
  const entities = (await (await ask(t)).execute('query-qmp-schema')) as Entity[];
  const reader = new SchemaReader(entities);
  t.equal(reader.entities.size, entities.length, 'no name stands for two');
  t.same([...reader.reachable()].sort(), entities.map(({ name }) => name).sort());
  for (const entity of entities) {
    const kind = entity['meta-type'];
    const expected = /^(command|event)$/.test(kind) ? /^[\w-]+$/ : kind === 'array' ? /^\[.+\]$/ : /^(\d+|[a-z]+)$/;
    t.match(entity.name, expected, `${kind} ${entity.name}`);
    if (kind !== 'object') continue;
    t.equal(entity.variants === undefined, entity.tag === undefined, `${entity.name} has a tag if it has variants`);
    for (const { type } of entity.variants ?? []) t.equal(reader.find(type)['meta-type'], 'object');
    const optional = entity.members?.filter((member) => 'default' in member) ?? [];
    t.ok(optional.every((member) => member.default === null));
  }
});

t.test('the questions that libvirt asks of a schema have answers', async (t) => {
  const reader = new SchemaReader((await (await ask(t)).execute('query-qmp-schema')) as Entity[]);
  for (const path of [
    'migrate-set-parameters/arg-type/max-bandwidth/!int',
    'migrate-set-parameters/arg-type/*downtime-limit',
    'query-migrate/ret-type/*status/^completed',
    'query-migrate/ret-type/socket-address/+unix/path/!string',
    'SHUTDOWN/arg-type/reason/^host-qmp-quit',
    'query-cpus-fast/ret-type/target/^x86_64',
  ]) {
    t.ok(reader.has(path), path);
  }
  for (const path of [
    // What these would switch on is not there.
    'object-add/arg-type/qom-type/^secret',
    'device_add/$json-cli-hotplug',
    'blockdev-add/arg-type/driver',
    'query-migrate/ret-type/*nope',
    'SHUTDOWN/arg-type/*reason',
  ]) {
    t.notOk(reader.has(path), path);
  }
});

t.test('commands and events have QEMU’s members, but for the differences listed', { skip: noQemu72() }, async (t) => {
  const ours = new SchemaReader((await (await ask(t)).execute('query-qmp-schema')) as Entity[]);
  const qemu = await startQemu(t, MACHINE_NONE);
  const theirs = new SchemaReader((await qemu.execute('query-qmp-schema')) as Entity[]);
  const differences: string[] = [];
  for (const name of [...ours.commands, ...ours.events]) {
    if (!theirs.entities.has(name)) {
      differences.push(`+ ${name}`);
      continue;
    }
    const [here, there] = [ours.shape(name), theirs.shape(name)];
    for (const line of here) if (!there.has(line)) differences.push(`+ ${line}`);
    for (const line of there) if (!here.has(line)) differences.push(`- ${line}`);
  }
  const listed = readFileSync(fileURLToPath(DIFFERENCES), 'utf8')
    .split('\n')
    .filter((line) => /^[+-] /.test(line));
  const covers = (line: string, difference: string) =>
    line.endsWith('...') ? difference.startsWith(line.slice(0, -3)) : difference === line;
  const unlisted = differences.filter((difference) => !listed.some((line) => covers(line, difference)));
  t.same(unlisted, [], 'each difference is listed');
  const stale = listed.filter((line) => !differences.some((difference) => covers(line, difference)));
  t.same(stale, [], 'each one listed is a difference');
});
