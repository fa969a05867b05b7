/** Values of the migration's parameters and capabilities: in range, at the edge, and beyond. */
import type { Step, Transcript } from '../transcript.js';
import { command, PC } from './machines.js';

const NUMBERS = [
  ...['announce-initial', 'announce-max', 'announce-rounds', 'announce-step', 'compress-level', 'compress-threads'],
  ...['decompress-threads', 'throttle-trigger-threshold', 'cpu-throttle-initial', 'cpu-throttle-increment'],
  ...['max-bandwidth', 'downtime-limit', 'x-checkpoint-delay', 'multifd-channels', 'xbzrle-cache-size'],
  ...['max-postcopy-bandwidth', 'max-cpu-throttle', 'multifd-zlib-level', 'multifd-zstd-level'],
];
const VALUES = [
  ...['0', '1', '2', '9', '10', '20', '99', '100', '101', '255', '256', '1000', '2000', '10000', '100000', '100001'],
  ...['2000000', '2000001', '4294967295', '4294967296', '9223372036854775807', '18446744073709551615'],
  ...['18446744073709551616', '-1', '-9223372036854775808', '1.0', '1.5', '"1"', 'null', 'true', '[]', '{}'],
];
const BOOLEANS = ['compress-wait-thread', 'cpu-throttle-tailslow', 'block-incremental'];
const TEXTS = ['tls-creds', 'tls-hostname', 'tls-authz'];
const CAPABILITIES = [
  ...['xbzrle', 'rdma-pin-all', 'auto-converge', 'zero-blocks', 'compress', 'events', 'postcopy-ram', 'x-colo'],
  ...['release-ram', 'block', 'return-path', 'pause-before-switchover', 'multifd', 'dirty-bitmaps'],
  ...['postcopy-blocktime', 'late-block-activate', 'x-ignore-shared', 'validate-uuid', 'background-snapshot'],
  ...['zero-copy-send', 'postcopy-preempt'],
];

export function parameterCases(): Transcript[] {
  const set = (name: string, value: string) =>
    `{"execute":"migrate-set-parameters","arguments":{"${name}":${value}}}\n`;
  const made = (name: string, sends: readonly string[]): Transcript => {
    const steps: Step[] = sends.map((send) => ({ send, recv: '' }));
    return { name, group: 'args', negotiated: true, qemu_args: [...PC, '-S'], session: 'parameters', steps };
  };
  const values = ['true', 'false', '1', '"on"', 'null', '[]'];
  return [
    ...NUMBERS.map((name) =>
      made(
        `parameter-${name}`,
        VALUES.map((value) => set(name, value)),
      ),
    ),
    ...BOOLEANS.map((name) =>
      made(
        `parameter-${name}`,
        values.map((value) => set(name, value)),
      ),
    ),
    ...TEXTS.map((name) =>
      made(
        `parameter-${name}`,
        ['""', '"x"', 'null', '1', '[]', 'true'].map((value) => set(name, value)),
      ),
    ),
    made(
      'parameter-multifd-compression',
      ['"none"', '"zlib"', '"zstd"', '"x"', '1', 'null'].map((value) => set('multifd-compression', value)),
    ),
    made(
      'parameter-block-bitmap-mapping',
      ['[]', '1', 'null', '[1]', '[{}]'].map((value) => set('block-bitmap-mapping', value)),
    ),
    made('parameters-several', [
      command('migrate-set-parameters', {}),
      command('migrate-set-parameters', { 'downtime-limit': 100, 'max-bandwidth': 1 }),
      command('migrate-set-parameters', { 'downtime-limit': 5, nope: 1 }),
      command('migrate-set-parameters', { 'downtime-limit': 5, 'cpu-throttle-initial': 200 }),
    ]),
    ...CAPABILITIES.map((capability) =>
      made(`capability-${capability}`, [
        command('migrate-set-capabilities', { capabilities: [{ capability, state: true }] }),
        command('migrate-set-capabilities', { capabilities: [{ capability, state: true }] }),
        command('migrate-set-capabilities', { capabilities: [{ capability, state: false }] }),
      ]),
    ),
    made('capabilities-together', [
      command('migrate-set-capabilities', {
        capabilities: [
          { capability: 'events', state: true },
          { capability: 'return-path', state: true },
        ],
      }),
      command('migrate-set-capabilities', {
        capabilities: [
          { capability: 'events', state: true },
          { capability: 'events', state: false },
        ],
      }),
    ]),
    {
      ...made('parameters-read-back', [
        command('migrate-set-parameters', { 'downtime-limit': 1234, 'max-bandwidth': 4096, 'announce-initial': 51 }),
        command('migrate-set-parameters', { 'announce-max': 100, 'announce-rounds': 1, 'announce-step': 2 }),
        command('migrate-set-parameters', { 'throttle-trigger-threshold': 1, 'cpu-throttle-initial': 98 }),
        command('migrate-set-parameters', { 'cpu-throttle-increment': 99, 'cpu-throttle-tailslow': true }),
        command('migrate-set-parameters', { 'max-cpu-throttle': 98 }),
        set('max-bandwidth', '9223372036853727232'),
        command('query-migrate-parameters'),
        set('max-bandwidth', '-1'),
        command('query-migrate-parameters'),
      ]),
      session: 'read-back',
    },
  ];
}
