/** Migrations from their commands to their ends, alone and in pairs. */
import type { Step, Transcript } from '../transcript.js';
import { command, PC } from './machines.js';

const SETTLE_MS = 400;
const ASK = [command('query-migrate'), command('query-status')];
const SINK = 'exec:cat > /dev/null';
const migrate = (uri: string, more: object = {}) => command('migrate', { uri, ...more });
const capability = (name: string, state = true) =>
  command('migrate-set-capabilities', { capabilities: [{ capability: name, state }] });
const EVENTS = capability('events');
const SLOW = command('migrate-set-parameters', { 'max-bandwidth': 4096 });
const names = (...list: string[]) => list.map((name) => command(name));

/** One machine and what it is told. */
function alone(name: string, sends: readonly string[], more: readonly string[] = []): Transcript {
  const steps: Step[] = sends.map((send) => ({
    send,
    recv: '',
    party: 'src',
    settleMs:
      send.includes('"migrate"') || send.includes('cancel') || send.includes('migrate-continue') ? SETTLE_MS : 40,
  }));
  return { name: `migrate-${name}`, group: 'migration', negotiated: true, qemu_args: { src: [...PC, ...more] }, steps };
}

/** Two machines; what is said to whom. */
function pair(
  name: string,
  says: ReadonlyArray<readonly [party: 'src' | 'dst', send: string | null]>,
  { src = [], dst = ['-incoming', 'defer'] }: { src?: readonly string[]; dst?: readonly string[] } = {},
): Transcript {
  const steps: Step[] = says.map(([party, send]) => ({
    send,
    recv: '',
    party,
    settleMs: send === null || send.includes('"migrate"') ? SETTLE_MS : 40,
  }));
  return {
    name: `pair-${name}`,
    group: 'migration',
    negotiated: true,
    qemu_args: { src: [...PC, ...src], dst: [...PC, ...dst] },
    steps,
  };
}

const URI = 'unix:@TMP@/mig.sock';
const START = [
  ['src', EVENTS],
  ['dst', EVENTS],
  ['dst', command('migrate-incoming', { uri: URI })],
] as const;
const GO = [
  ['src', migrate(URI)],
  ['dst', null],
] as const;
const both = (...list: string[]) => list.flatMap((send) => [['src', send] as const, ['dst', send] as const]);

const BAD_URIS = [
  ...[
    'bogus',
    '',
    ':',
    'x:',
    'bogus:x',
    'tcp',
    'tcp:',
    'tcp::',
    'tcp:127.0.0.1',
    'tcp:127.0.0.1:',
    'tcp:[::1',
    'unix',
    'unix:',
  ],
  ...[
    'fd:',
    'fd:nofd',
    'fd:99',
    'fd:-1',
    'fd:x',
    'exec',
    'rdma:x',
    'file:/tmp/x',
    'defer',
    'TCP:127.0.0.1:1',
    ' tcp:127.0.0.1:1',
  ],
];

export function migrationCases(): Transcript[] {
  return [
    alone('bad-uris', [...BAD_URIS.map((uri) => migrate(uri)), ...ASK]),
    alone('arguments', [
      command('migrate', { uri: 'unix:/nonexistent', blk: true, foo: 1 }),
      migrate('unix:/nonexistent', { resume: true }),
      migrate('bogus', { detach: true, blk: false, inc: false, resume: false }),
      ...ASK,
    ]),
    ...[
      'tcp:127.0.0.1:1',
      'unix:/nonexistent/x',
      'unix:/dev/null',
      'exec:false',
      'exec:exit 7',
      'exec:/nonexistent/program',
    ].map((uri, i) =>
      alone(`fails-${i}`, [EVENTS, migrate(uri), ...ASK, command('migrate_cancel'), ...ASK, migrate(uri), ...ASK]),
    ),
    alone('fails-paused', [EVENTS, command('stop'), migrate('tcp:127.0.0.1:1'), ...ASK, command('cont'), ...ASK]),
    alone('fails-without-events', [migrate('tcp:127.0.0.1:1'), ...ASK]),
    alone('exec-without-events', [migrate(SINK), ...ASK, command('cont'), ...ASK, migrate(SINK), ...ASK]),
    alone('exec-then-reset', [EVENTS, migrate(SINK), command('system_reset'), ...ASK, command('cont'), ...ASK]),
    alone('exec-then-stop-and-powerdown', [
      EVENTS,
      migrate(SINK),
      ...names('stop', 'system_powerdown', 'system_wakeup'),
      ...ASK,
    ]),
    alone('exec-then-incoming', [EVENTS, migrate(SINK), command('migrate-incoming', { uri: URI }), ...ASK]),
    alone('exec-then-continue', [
      EVENTS,
      migrate(SINK),
      command('migrate-continue', { state: 'pre-switchover' }),
      ...names('migrate-pause', 'migrate-start-postcopy'),
    ]),
    alone('exec-prelaunch', [EVENTS, migrate(SINK), ...ASK, command('cont'), ...ASK], ['-S']),
    alone('exec-quit', [EVENTS, migrate(SINK), command('quit')]),
    alone('cancel-nothing', [...names('migrate_cancel', 'query-migrate', 'migrate_cancel', 'query-migrate')]),
    alone('cancel-active', [
      EVENTS,
      SLOW,
      migrate(SINK),
      command('migrate_cancel'),
      ...ASK,
      command('migrate_cancel'),
      ...ASK,
      command('migrate-set-parameters', { 'max-bandwidth': 1 << 30 }),
      migrate(SINK),
      ...ASK,
    ]),
    alone('cancel-without-events', [SLOW, migrate(SINK), command('migrate_cancel'), ...ASK]),
    alone('stop-while-active', [
      EVENTS,
      SLOW,
      migrate(SINK),
      ...names('stop', 'query-status', 'cont', 'query-status'),
      command('migrate_cancel'),
      ...ASK,
    ]),
    alone('quit-while-active', [EVENTS, SLOW, migrate(SINK), command('quit')]),
    alone('commands-while-active', [
      EVENTS,
      SLOW,
      migrate(SINK),
      migrate(SINK),
      migrate('bogus'),
      capability('events', false),
      command('migrate-incoming', { uri: URI }),
      command('migrate-recover', { uri: URI }),
      command('migrate-continue', { state: 'device' }),
      command('migrate-continue', { state: 'active' }),
      command('migrate-continue', { state: 'nope' }),
      ...names('migrate-pause', 'migrate-start-postcopy'),
      command('migrate-set-parameters', { 'downtime-limit': 1 }),
      command('yank', { instances: [] }),
      command('migrate_cancel'),
    ]),
    alone('pause-before-switchover', [
      EVENTS,
      capability('pause-before-switchover'),
      migrate(SINK),
      ...ASK,
      command('migrate-continue', { state: 'device' }),
      command('migrate-continue', { state: 'pre-switchover' }),
      ...ASK,
    ]),
    alone('pause-before-switchover-cancel', [
      EVENTS,
      capability('pause-before-switchover'),
      migrate(SINK),
      command('query-status'),
      command('migrate_cancel'),
      ...ASK,
      command('cont'),
      ...ASK,
    ]),
    alone('pause-before-switchover-cont', [
      EVENTS,
      capability('pause-before-switchover'),
      migrate(SINK),
      command('cont'),
      ...ASK,
      command('migrate_cancel'),
      ...ASK,
    ]),
    alone('pause-before-switchover-paused', [
      EVENTS,
      command('stop'),
      capability('pause-before-switchover'),
      migrate(SINK),
      ...ASK,
      command('migrate-continue', { state: 'pre-switchover' }),
      ...ASK,
    ]),
    alone('commands-without-migration', [
      command('migrate-continue', { state: 'pre-switchover' }),
      command('migrate-continue', { state: 'none' }),
      command('migrate-incoming', { uri: URI }),
      command('migrate-recover', { uri: URI }),
      ...names('migrate-pause', 'migrate-start-postcopy', 'query-migrate', 'query-colo-status'),
    ]),
    alone(
      'blocked',
      [command('query-migrate'), migrate(SINK), command('query-migrate')],
      [
        ...['-object', 'memory-backend-ram,id=sh,size=1M,share=on'],
        ...['-device', 'ivshmem-plain,memdev=sh,master=off'],
      ],
    ),
    pair('machine-differs', [...START, ...GO, ...both(command('query-migrate'))], {
      dst: ['-machine', 'q35', '-incoming', 'defer'],
    }),
    pair('unix', [
      ...START,
      ...both(command('query-migrate')),
      ...GO,
      ...both(...ASK),
      ['dst', command('stop')],
      ['dst', command('cont')],
      ['src', command('cont')],
      ...both(...ASK),
    ]),
    pair('without-events', [
      ['dst', command('migrate-incoming', { uri: URI })],
      ['src', migrate(URI)],
      ['dst', null],
      ...both(...ASK),
    ]),
    pair('destination-paused', [...START, ...GO, ...both(...ASK), ['dst', command('cont')], ...both(...ASK)], {
      dst: ['-S', '-incoming', 'defer'],
    }),
    pair('destination-told-to-stop', [
      ...START,
      ['dst', command('stop')],
      ...GO,
      ...both(...ASK),
      ['dst', command('cont')],
      ['dst', command('query-status')],
    ]),
    pair('destination-told-to-stop-and-cont', [
      ...START,
      ['dst', command('stop')],
      ['dst', command('cont')],
      ...GO,
      ...both(...ASK),
    ]),
    pair(
      'source-prelaunch',
      [...START, ...GO, ...both(...ASK), ['dst', command('cont')], ['dst', command('query-status')]],
      { src: ['-S'] },
    ),
    pair('source-quits-then-there-and-back', [
      ...START,
      ...GO,
      ['src', command('quit')],
      ['dst', migrate(SINK)],
      ...ASK.map((send) => ['dst', send] as const),
    ]),
    pair('tcp-port-0', [
      ['dst', command('migrate-incoming', { uri: 'tcp:127.0.0.1:0' })],
      ['dst', command('query-migrate')],
      ['src', migrate('tcp:127.0.0.1:@PORT@')],
      ['dst', null],
      ...both(...ASK),
    ]),
    pair('exec-source', [
      ['dst', EVENTS],
      ['dst', command('migrate-incoming', { uri: 'exec:sleep 5' })],
      ...ASK.map((send) => ['dst', send] as const),
    ]),
    pair('file-by-exec', [
      ['src', EVENTS],
      ['src', migrate('exec:cat > @TMP@/stream')],
      ['dst', EVENTS],
      ['dst', command('migrate-incoming', { uri: 'exec:cat @TMP@/stream' })],
      ['dst', null],
      ...both(...ASK),
    ]),
    pair(
      'uuid-differs',
      [
        ...START,
        ...both(capability('validate-uuid')),
        ...GO,
        ['src', ASK[0] as string],
        ['src', ASK[1] as string],
        ['dst', ASK[0] as string],
      ],
      { dst: ['-uuid', '22222222-2222-3333-4444-555555555555', '-incoming', 'defer'] },
    ),
    pair('uuid-differs-unchecked', [...START, ...GO, ...both(...ASK)], {
      dst: ['-uuid', '22222222-2222-3333-4444-555555555555', '-incoming', 'defer'],
    }),
    pair('memory-differs', [...START, ...GO, ['src', ASK[0] as string], ['src', ASK[1] as string]], {
      dst: ['-m', '64', '-incoming', 'defer'],
    }),
    pair(
      'cmdline-unix',
      [['src', EVENTS], ...both(...ASK), ['src', migrate('unix:@TMP@/in.sock')], ['dst', null], ...both(...ASK)],
      { dst: ['-incoming', 'unix:@TMP@/in.sock'] },
    ),
    pair('incoming-errors', [
      ...[
        'bogus',
        '',
        'tcp:',
        'tcp:127.0.0.1',
        'tcp:x',
        'unix:',
        'unix:/nonexistent/x',
        'fd:',
        'fd:nofd',
        'defer',
        'rdma:x',
        'file:/x',
      ].map((uri) => ['dst', command('migrate-incoming', { uri })] as const),
      ['dst', command('migrate-incoming')],
      ['dst', migrate(SINK)],
      ...ASK.map((send) => ['dst', send] as const),
      ['dst', command('migrate-incoming', { uri: URI })],
      ['dst', command('migrate-incoming', { uri: URI })],
      ...names(
        'cont',
        'stop',
        'query-status',
        'system_reset',
        'system_powerdown',
        'system_wakeup',
        'migrate_cancel',
        'query-migrate',
        'migrate-pause',
      ).map((send) => ['dst', send] as const),
      ['dst', command('quit')],
    ]),
  ];
}
