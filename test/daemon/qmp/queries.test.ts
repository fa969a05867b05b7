/** Queries of a running daemon: what it has, and truthfully what it has not, in QEMU's shapes; beside QEMU's own answers where it is installed. */
import t, { type Test } from 'tap';
import type { QmpClient } from '../../../client/qmp_client.js';
import { answer } from '../../helpers/answers.js';
import { DaemonProcess, MACHINE_NONE, MACHINE_PC, QMP_SOCKET } from '../../helpers/daemon.js';
import { noKvm } from '../../helpers/daemons.js';
import { noQemu72, startQemu } from '../../helpers/qemu.js';

/** Two vCPUs: the last is listed first. */
const PC = [...MACHINE_PC, '-smp', '2'];

async function daemon(t: Test, args: readonly string[]): Promise<QmpClient> {
  const client = await new DaemonProcess(t, [...args, ...QMP_SOCKET]).qmp();
  t.teardown(() => client.close());
  return client;
}

const EMPTY = [
  'query-iothreads',
  'query-block',
  'query-named-block-nodes',
  'query-blockstats',
  'query-jobs',
  'query-block-jobs',
  'query-block-exports',
  'query-pci',
  'query-rx-filter',
  'query-tpm',
  'query-tpm-models',
  'query-tpm-types',
  'query-mice',
  'query-memory-devices',
  'query-pr-managers',
  'x-query-virtio',
];

const REFUSED: ReadonlyArray<[string, object, string]> = [
  ['query-rx-filter', { name: 'x' }, 'GenericError: invalid net client name: x'],
  ['query-vm-generation-id', {}, 'GenericError: VM Generation ID device not found'],
  ['query-balloon', {}, 'DeviceNotActive: No balloon device has been activated'],
  ['balloon', { value: 1 }, 'DeviceNotActive: No balloon device has been activated'],
  ['balloon', {}, "GenericError: Parameter 'value' is missing"],
  ['query-sgx-capabilities', {}, 'GenericError: SGX is not enabled in KVM'],
  ['x-query-profile', {}, 'GenericError: Internal profiler not compiled'],
  ['x-query-usb', {}, 'GenericError: USB support not enabled'],
];

t.test('a machine of type none tells what it has not', async (t) => {
  const client = await daemon(t, MACHINE_NONE);
  for (const command of EMPTY) t.same(await answer(client, command), [], command);
  for (const [command, args, text] of REFUSED) t.equal(await answer(client, command, args), text);
  t.equal(
    await answer(client, 'query-hotpluggable-cpus'),
    "GenericError: The feature 'query-hotpluggable-cpus' is not enabled",
  );
  t.equal(await answer(client, 'query-sgx'), 'GenericError: SGX is only supported on PC machines');
  t.equal(
    await answer(client, 'query-acpi-ospm-status'),
    'GenericError: command is not supported, missing ACPI device',
  );
  t.match(await answer(client, 'query-kvm'), { enabled: false, present: noKvm() === false });
  t.same(await answer(client, 'query-target'), { arch: 'x86_64' });
  t.same(await answer(client, 'query-cpus-fast'), []);
  t.same(await answer(client, 'query-memdev'), []);
  t.same(await answer(client, 'query-memory-size-summary'), { 'base-memory': 0, 'plugged-memory': 0 });
  const machines = await client.execute('query-machines');
  t.same(machines.map(({ name }) => name).sort(), ['none', 'pc-i440fx-7.2']);
  const standard = machines.filter((machine) => machine['is-default']);
  t.match(standard, [{ name: 'pc-i440fx-7.2', alias: 'pc', 'hotpluggable-cpus': true, 'default-ram-id': 'pc.ram' }]);
});

t.test('a PC tells its vCPUs and its memory', { skip: noKvm() }, async (t) => {
  const client = await daemon(t, PC);
  for (const command of [...EMPTY, 'query-acpi-ospm-status']) t.same(await answer(client, command), [], command);
  for (const [command, args, text] of REFUSED) t.equal(await answer(client, command, args), text);
  t.same(await answer(client, 'query-kvm'), { enabled: true, present: true });
  t.same(await answer(client, 'query-current-machine'), { 'wakeup-suspend-support': true });
  const places = await client.execute('query-hotpluggable-cpus');
  t.match(places, [
    { 'vcpus-count': 1, props: { 'core-id': 1 }, 'qom-path': '/machine/unattached/device[2]' },
    { 'vcpus-count': 1, props: { 'core-id': 0 }, 'qom-path': '/machine/unattached/device[0]' },
  ]);
  const fast = await client.execute('query-cpus-fast');
  t.same(
    fast.map((vcpu) => vcpu['qom-path']),
    places.map((place) => place['qom-path']).reverse(),
  );
  t.same(await answer(client, 'query-memory-size-summary'), { 'base-memory': 32 * 2 ** 20, 'plugged-memory': 0 });
  t.match(await answer(client, 'query-memdev'), [{ id: 'pc.ram', size: 32 * 2 ** 20, share: false }]);
});

t.test('memory is told by the name and kind that it was given', { skip: noKvm() }, async (t) => {
  const backend = ['-object', 'memory-backend-memfd,id=mem0,size=32M', '-machine', 'memory-backend=mem0'];
  const client = await daemon(t, [...PC, ...backend]);
  t.match(await answer(client, 'query-memdev'), [{ id: 'mem0', share: true, policy: 'default' }]);
});

/** Of these QEMU has something where vmhostd has nothing. */
const ABSENT_HERE: readonly string[] = ['query-pci', 'query-mice', 'query-tpm-models', 'query-tpm-types'];

const SAME: ReadonlyArray<readonly [string, object?]> = [
  ...EMPTY.filter((command) => !ABSENT_HERE.includes(command)).map((command) => [command] as const),
  ...REFUSED.map(([command, args]) => [command, args] as const),
  ['query-acpi-ospm-status'],
  ['query-blockstats', { 'query-nodes': 1 }],
  ['query-colo-status'],
  ['query-current-machine'],
  ['query-display-options'],
  ['query-kvm'],
  ['query-memdev'],
  ['query-memory-size-summary'],
  ['query-named-block-nodes', { flat: true }],
  ['query-replay'],
  ['query-sev'],
  ['query-sgx'],
  ['query-target'],
  ['x-query-numa'],
  ['x-query-rdma'],
];

for (const [name, args, skip] of [
  ['none', MACHINE_NONE, false],
  ['pc', PC, noKvm()],
] as const) {
  t.test(`a machine of type ${name} answers as QEMU's does`, { skip: noQemu72() || skip }, async (t) => {
    const [ours, theirs] = [await daemon(t, args), await startQemu(t, args)];
    for (const [command, more] of SAME) {
      t.same(await answer(ours, command, more), await answer(theirs, command, more), command);
    }
  });
}
