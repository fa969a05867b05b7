/** `info migrate` and its neighbours. The texts were recorded from QEMU 7.2.22, in each state of a migration. */
import t from 'tap';
import { DEFAULT_PARAMETERS } from '../../../daemon/migration/parameters.js';
import { migrationText, mplmText, parametersText } from '../../../daemon/monitor/commands/info_migration.js';
import type { MigrationStats } from '../../../schemas/generated/qmp.js';
import { modelMonitor, shown } from './model.js';

const GLOBALS =
  'globals:\nstore-global-state: on\nonly-migratable: off\nsend-configuration: on\nsend-section-footer: on\n' +
  'decompress-error-check: on\nclear-bitmap-shift: 18\n';

const RAM: MigrationStats = {
  transferred: 686_080,
  remaining: 0,
  total: 34_086_912,
  duplicate: 8295,
  skipped: 0,
  normal: 149,
  'normal-bytes': 610_304,
  'dirty-pages-rate': 0,
  mbps: 6.348,
  'dirty-sync-count': 4,
  'postcopy-requests': 0,
  'page-size': 4096,
  'multifd-bytes': 0,
  'pages-per-second': 255,
  'precopy-bytes': 686_079,
  'downtime-bytes': 1,
  'postcopy-bytes': 0,
  'dirty-sync-missed-zero-copy': 0,
};
const RAM_TEXT =
  'transferred ram: 670 kbytes\nthroughput: 6.35 mbps\nremaining ram: 0 kbytes\ntotal ram: 33288 kbytes\n' +
  'duplicate: 8295 pages\nskipped: 0 pages\nnormal: 149 pages\nnormal bytes: 596 kbytes\ndirty sync count: 4\n' +
  'page size: 4 kbytes\nmultifd bytes: 0 kbytes\npages-per-second: 255\n';

t.test('info migrate shows what query-migrate has, and no more', async (t) => {
  t.equal(migrationText({}), GLOBALS);
  t.equal(migrationText({ status: 'setup' }), `${GLOBALS}Migration status: setup\ntotal time: 0 ms\n`);
  t.equal(
    migrationText({ status: 'failed', 'error-desc': "error parsing address '1'" }),
    `${GLOBALS}Migration status: failed (error parsing address '1')\ntotal time: 0 ms\n`,
  );
  t.equal(
    migrationText({ status: 'completed', 'total-time': 1022, downtime: 2, 'setup-time': 16, ram: RAM }),
    `${GLOBALS}Migration status: completed\ntotal time: 1022 ms\ndowntime: 2 ms\nsetup: 16 ms\n${RAM_TEXT}` +
      'precopy ram: 669 kbytes\ndowntime ram: 0 kbytes\n',
  );
  t.equal(
    migrationText({
      status: 'active',
      'total-time': 5,
      'expected-downtime': 300,
      'setup-time': 1,
      'cpu-throttle-percentage': 20,
      ram: { ...RAM, 'dirty-pages-rate': 12, 'postcopy-requests': 3, 'precopy-bytes': 0, 'downtime-bytes': 0 },
    }),
    `${GLOBALS}Migration status: active\ntotal time: 5 ms\nexpected downtime: 300 ms\nsetup: 1 ms\n${RAM_TEXT}` +
      'dirty pages rate: 12 pages\npostcopy request count: 3\ncpu throttle percentage: 20\n',
  );
});

t.test('a destination shows where it waits', async (t) => {
  t.equal(
    migrationText({
      'socket-address': [
        { type: 'inet', host: '127.0.0.1', port: '4444' },
        { type: 'inet', host: '::1', port: '4444' },
        { type: 'unix', path: '/tmp/in' },
        { type: 'fd', str: '7' },
      ],
    }),
    `${GLOBALS}socket address: [\n\ttcp:127.0.0.1:4444\n\ttcp:[::1]:4444\n\tunix:/tmp/in\n\tfd:7\n]\n`,
  );
});

t.test('parameters are shown in the order of QEMU, with units', async (t) => {
  t.equal(
    parametersText({
      'tls-hostname': 'abc',
      'downtime-limit': 300n,
      'max-bandwidth': 134217728n,
      'announce-initial': 50,
      'compress-wait-thread': true,
      'multifd-compression': 'none',
      'multifd-zlib-level': 1,
      'xbzrle-cache-size': 67108864,
    } as Parameters<typeof parametersText>[0]),
    "announce-initial: 50 ms\ncompress-wait-thread: on\ntls-hostname: 'abc'\nmax-bandwidth: 134217728 bytes/second\n" +
      'downtime-limit: 300 ms\nmultifd-compression: none\nxbzrle-cache-size: 67108864 bytes\n',
  );
});

t.test('info mplm shows policy, epochs and the memory bound', async (t) => {
  const epoch = {
    epoch: 0,
    'elapsed-ms': 900,
    'dirty-pages-sent': 0,
    'non-dirty-pages-sent': 80,
    'new-dirty-pages': 7,
    'non-dirty-pages': 20,
    'dirty-pages': 7,
    bytes: 327680,
  };
  t.equal(
    mplmText({
      policy: 'mplm',
      stage: 'live',
      epoch: 1,
      'non-dirty-pages': 20,
      'dirty-pages': 7,
      extended: true,
      firstnondirty: true,
      intervaltime: 3,
      relaxlivemig: false,
      dirtypercents: 50,
      buffer: { bound: 16 << 20, 'in-use': 1 << 20, peak: 2 << 20 },
      epochs: [epoch],
    }),
    'policy: mplm\nstage: live (extended)\nintervaltime: 3 s\ndirtypercents: 50\nfirstnondirty: on\nrelaxlivemig: off\n' +
      'epoch: 1\nnon-dirty pages: 20\ndirty pages: 7\nbuffer: 1024 kbytes of 16384 kbytes, peak 2048 kbytes\n' +
      'epoch 0: 900 ms, sent 80 non-dirty and 0 dirty pages, 7 newly dirty\n',
  );
});

t.test('capabilities and limits are listed line by line', async (t) => {
  const announced: unknown[] = [];
  const monitor = modelMonitor({
    'query-migrate-capabilities': () => [
      { capability: 'events', state: true },
      { capability: 'return-path', state: false },
    ],
    'query-vcpu-dirty-limit': () => [],
    'cancel-vcpu-dirty-limit': () => undefined,
    'query-migrate-parameters': () => DEFAULT_PARAMETERS,
    'announce-self': (args) => void announced.push(args),
  });
  t.equal(await shown(monitor, 'info migrate_capabilities'), 'events: on\r\nreturn-path: off\r\n');
  t.equal(await shown(monitor, 'info vcpu_dirty_limit'), 'Dirty page limit not enabled!\r\n');
  t.equal(
    await shown(monitor, 'cancel_vcpu_dirty_limit'),
    "[Please use 'info vcpu_dirty_limit' to query dirty limit for virtual CPU]\r\n",
  );
  t.equal(await shown(monitor, 'announce_self a,b id'), '');
  t.strictSame(announced, [{ initial: 50n, max: 550n, rounds: 5n, step: 100n, interfaces: ['a', 'b'], id: 'id' }]);
  t.equal(await shown(monitor, 'migrate_continue x'), 'Error: invalid parameter value: x\r\n');
});
