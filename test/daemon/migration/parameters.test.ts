import t from 'tap';
import { Capabilities } from '../../../daemon/migration/capabilities.js';
import { changeParameters, DEFAULT_PARAMETERS, type ParameterChanges } from '../../../daemon/migration/parameters.js';
import { noKvm, TestDaemon } from '../../helpers/daemons.js';

const skip = noKvm();
const change = (changes: ParameterChanges, values = DEFAULT_PARAMETERS) => changeParameters(values, changes);

t.test('a value outside its range is refused in the words of QEMU, the first in its order', async (t) => {
  const refusals: [ParameterChanges, string][] = [
    [{ 'compress-level': 10 }, "Parameter 'compress_level' expects a value between 0 and 9"],
    [{ 'compress-threads': 0 }, "Parameter 'compress_threads' expects a value between 1 and 255"],
    [{ 'decompress-threads': 0 }, "Parameter 'decompress_threads' expects a value between 1 and 255"],
    [
      { 'throttle-trigger-threshold': 101 },
      "Parameter 'throttle_trigger_threshold' expects an integer in the range of 1 to 100",
    ],
    [{ 'cpu-throttle-initial': 0 }, "Parameter 'cpu_throttle_initial' expects an integer in the range of 1 to 99"],
    [
      { 'cpu-throttle-increment': 100 },
      "Parameter 'cpu_throttle_increment' expects an integer in the range of 1 to 99",
    ],
    [
      { 'downtime-limit': 2000001n },
      "Parameter 'downtime_limit' expects an integer in the range of 0 to (2000 * 1000) ms",
    ],
    [{ 'multifd-channels': 0 }, "Parameter 'multifd_channels' expects a value between 1 and 255"],
    [
      { 'xbzrle-cache-size': 4097n },
      "Parameter 'xbzrle_cache_size' expects a power of two no less than the target page size",
    ],
    [
      { 'max-cpu-throttle': 19 },
      "Parameter 'max_cpu_throttle' expects an integer in the range of cpu_throttle_initial to 99",
    ],
    [{ 'announce-initial': 100001n }, "Parameter 'announce_initial' expects a value between 0 and 100000"],
    [{ 'announce-max': 100001n }, "Parameter 'announce_max' expects a value between 0 and 100000"],
    [{ 'announce-rounds': 1001n }, "Parameter 'announce_rounds' expects a value between 0 and 1000"],
    [{ 'announce-step': 0n }, "Parameter 'announce_step' expects a value between 0 and 10000"],
    [
      { 'announce-step': 0n, 'downtime-limit': 2000001n, 'compress-level': 99 },
      "Parameter 'compress_level' expects a value between 0 and 9",
    ],
  ];
  for (const [changes, message] of refusals) t.throws(() => change(changes), { class: 'GenericError', message });
});

t.test('parameters are checked one against the other, as they would be', async (t) => {
  const low = change({ 'max-cpu-throttle': 10, 'cpu-throttle-initial': 5 });
  t.match(low, { 'max-cpu-throttle': 10, 'cpu-throttle-initial': 5 });
  t.throws(() => change({ 'cpu-throttle-initial': 11 }, low), { message: /^Parameter 'max_cpu_throttle' expects/ });
});

t.test('a parameter without effect can be set to its default, and to nothing else', async (t) => {
  t.same(change({ 'multifd-channels': 2, 'tls-creds': null, 'tls-authz': '' }), DEFAULT_PARAMETERS);
  t.same(change({ ...DEFAULT_PARAMETERS, 'block-bitmap-mapping': [] }), DEFAULT_PARAMETERS, 'all of them at once');
  const refusals: [ParameterChanges, string][] = [
    [{ 'multifd-channels': 4 }, "Parameter 'multifd-channels' has no effect here and can only be its default, 2"],
    [{ 'tls-creds': 'tls0' }, `Parameter 'tls-creds' has no effect here and can only be its default, ""`],
    [
      { 'xbzrle-cache-size': 4096n },
      "Parameter 'xbzrle-cache-size' has no effect here and can only be its default, 67108864",
    ],
    [
      { 'block-incremental': true },
      "Parameter 'block-incremental' has no effect here and can only be its default, false",
    ],
    [
      { 'block-bitmap-mapping': [{ 'node-name': 'a', alias: 'b', bitmaps: [] }] },
      "Parameter 'block-bitmap-mapping' has no effect here and can only be its default, []",
    ],
  ];
  for (const [changes, message] of refusals) t.throws(() => change(changes), { class: 'GenericError', message });
});

t.test('capabilities that are not implemented are known and refused, and then none is switched', async (t) => {
  const capabilities = new Capabilities();
  for (const [capability, message] of [
    ['xbzrle', "Parameter 'capability' does not accept value 'xbzrle'"],
    ['multifd', "Parameter 'capability' does not accept value 'multifd'"],
    ['postcopy-ram', 'Postcopy is not supported'],
    ['postcopy-preempt', 'Postcopy preempt requires postcopy-ram'],
    ['zero-copy-send', 'Zero copy only available for non-compressed non-TLS multifd migration'],
    ['background-snapshot', 'Background-snapshot is not supported by host kernel'],
  ] as const) {
    const changes = [
      { capability: 'events', state: true },
      { capability, state: true },
    ] as const;
    t.throws(() => capabilities.set(changes), { class: 'GenericError', message });
    t.notOk(capabilities.has('events'));
    capabilities.set([{ capability, state: false }]);
  }
  t.same(
    capabilities.list().map(({ capability }) => capability),
    ['auto-converge', 'events', 'return-path', 'pause-before-switchover', 'late-block-activate', 'validate-uuid'],
    'in the order of the enum of QEMU',
  );
});

t.test('parameters are kept exactly, and a bad one leaves all as they were', { skip }, async (t) => {
  const { qmp } = await TestDaemon.start(t);
  const before = await qmp.execute('query-migrate-parameters');
  t.equal(Object.keys(before).length, 26);
  t.match(before, { 'tls-creds': '', 'multifd-compression': 'none', 'downtime-limit': 300, 'announce-step': 100 });
  await t.rejects(qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1, 'downtime-limit': 2000001 }), {
    message: "Parameter 'downtime_limit' expects an integer in the range of 0 to (2000 * 1000) ms",
  });
  t.same(await qmp.execute('query-migrate-parameters'), before);
  for (const [set, get] of [
    [18446744073709551615n, 18446744073709551615n],
    [-1, 18446744073709551615n],
    [9223372036853727232n, 9223372036853727232n],
  ] as const) {
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': set });
    t.match(await qmp.execute('query-migrate-parameters'), { 'max-bandwidth': get });
  }
  await qmp.execute('migrate-set-parameters', await qmp.execute('query-migrate-parameters'));
  await t.rejects(qmp.execute('migrate-set-parameters', { 'tls-creds': 1 } as never), {
    message: "Invalid parameter type for 'tls-creds', expected: StrOrNull",
  });
});

t.test('what there is nothing for here answers as a QEMU that has nothing for it', { skip }, async (t) => {
  const { qmp } = await TestDaemon.start(t);
  await qmp.execute('announce-self', { initial: 50, max: 550, rounds: 5, step: 50 });
  await t.rejects(qmp.execute('announce-self', { initial: 2n ** 63n, max: 550, rounds: 5, step: 50 }), {
    message: "Invalid parameter type for 'initial', expected: integer",
  });
  await qmp.execute('cancel-vcpu-dirty-limit');
  t.same(await qmp.execute('query-vcpu-dirty-limit'), []);
  const refusals: [() => Promise<unknown>, string][] = [
    [() => qmp.execute('migrate-pause'), 'migrate-pause is currently only supported during postcopy-active state'],
    [
      () => qmp.execute('migrate-recover', { uri: 'tcp:127.0.0.1:0' }),
      'Migrate recover can only be run when postcopy is paused.',
    ],
    [
      () => qmp.execute('migrate-start-postcopy'),
      'Enable postcopy with migrate_set_capability before the start of migration',
    ],
    [() => qmp.execute('migrate-continue', { state: 'pre-switchover' }), 'Migration not in expected state: none'],
    [
      () => qmp.execute('set-vcpu-dirty-limit', { 'dirty-rate': 200 }),
      "dirty page limit feature requires KVM with accelerator property 'dirty-ring-size' set'",
    ],
  ];
  for (const [refused, message] of refusals) await t.rejects(refused(), { class: 'GenericError', message });
  await t.rejects(qmp.execute('yank', { instances: [{ type: 'migration' }] }), {
    class: 'DeviceNotFound',
    message: 'Instance not found',
  });
  await qmp.execute('yank', { instances: [] });
});
