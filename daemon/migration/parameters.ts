/** Migration parameters: QEMU 7.2's list, defaults and refusals. Those without effect here keep their defaults. */
import { genericError, invalidParameter, type QmpError } from '../../protocol/qmp_errors.js';
import type { CommandArguments } from '../../schemas/generated/qmp.js';
import { MAX_DOWNTIME_LIMIT_MS } from './policy/index.js';

export type ParameterChanges = CommandArguments<'migrate-set-parameters'>;
type Listed = Required<Omit<ParameterChanges, 'block-bitmap-mapping'>>;
/** Integers of 64 bits are exact; where QEMU takes null for a string, it means an empty one. */
export type ParameterValues = Omit<Listed, `tls-${string}`> &
  Record<'tls-creds' | 'tls-hostname' | 'tls-authz', string>;
type Name = keyof ParameterValues;

/** migration/migration.c */
export const DEFAULT_PARAMETERS: ParameterValues = {
  'announce-initial': 50n,
  'announce-max': 550n,
  'announce-rounds': 5n,
  'announce-step': 100n,
  'compress-level': 1,
  'compress-threads': 8,
  'compress-wait-thread': true,
  'decompress-threads': 2,
  'throttle-trigger-threshold': 50,
  'cpu-throttle-initial': 20,
  'cpu-throttle-increment': 10,
  'cpu-throttle-tailslow': false,
  'tls-creds': '',
  'tls-hostname': '',
  'tls-authz': '',
  'max-bandwidth': 134217728n,
  'downtime-limit': 300n,
  'x-checkpoint-delay': 20000,
  'block-incremental': false,
  'multifd-channels': 2,
  'xbzrle-cache-size': 67108864n,
  'max-postcopy-bandwidth': 0n,
  'max-cpu-throttle': 99,
  'multifd-compression': 'none',
  'multifd-zlib-level': 1,
  'multifd-zstd-level': 1,
};

const WITH_EFFECT: ReadonlySet<string> = new Set<Name>([
  'announce-initial',
  'announce-max',
  'announce-rounds',
  'announce-step',
  'throttle-trigger-threshold',
  'cpu-throttle-initial',
  'cpu-throttle-increment',
  'cpu-throttle-tailslow',
  'max-bandwidth',
  'downtime-limit',
  'max-cpu-throttle',
]);

interface Check {
  readonly name: Name;
  readonly expects: string;
  readonly holds: (values: ParameterValues) => boolean;
}

type Numeric = { [N in Name]: ParameterValues[N] extends number | bigint ? N : never }[Name];

function range(name: Numeric, low: number, high: number, expects: string): Check {
  return { name, expects, holds: (values) => values[name] >= low && values[name] <= high };
}

const between = (name: Numeric, low: number, high: number): Check =>
  range(name, low, high, `a value between ${low} and ${high}`);
const inRange = (name: Numeric, low: number, high: number): Check =>
  range(name, low, high, `an integer in the range of ${low} to ${high}`);

/**
 * What holds of all parameters together, in the order in which QEMU looks (migrate_params_check). A schema cannot say it: QEMU checks what the
 * parameters would be after the change, one against the other.
 */
const CHECKS: readonly Check[] = [
  between('compress-level', 0, 9),
  between('compress-threads', 1, 255),
  between('decompress-threads', 1, 255),
  inRange('throttle-trigger-threshold', 1, 100),
  inRange('cpu-throttle-initial', 1, 99),
  inRange('cpu-throttle-increment', 1, 99),
  range('downtime-limit', 0, MAX_DOWNTIME_LIMIT_MS, 'an integer in the range of 0 to (2000 * 1000) ms'),
  between('multifd-channels', 1, 255),
  {
    name: 'xbzrle-cache-size',
    expects: 'a power of two no less than the target page size',
    holds: ({ 'xbzrle-cache-size': bytes }) => bytes >= 4096n && (bytes & (bytes - 1n)) === 0n,
  },
  {
    name: 'max-cpu-throttle',
    expects: 'an integer in the range of cpu_throttle_initial to 99',
    holds: (values) => values['max-cpu-throttle'] >= values['cpu-throttle-initial'] && values['max-cpu-throttle'] <= 99,
  },
  between('announce-initial', 0, 100000),
  between('announce-max', 0, 100000),
  between('announce-rounds', 0, 1000),
  // The text says 0; the least that QEMU takes is 1.
  range('announce-step', 1, 10000, 'a value between 0 and 10000'),
];

/** The parameters as they would be. @throws QmpError, in QEMU's words where it has some, and then nothing has changed */
export function changeParameters(values: ParameterValues, changes: ParameterChanges): ParameterValues {
  const { 'block-bitmap-mapping': mapping, ...listed } = changes;
  const given = Object.fromEntries(Object.entries(listed).map(([name, value]) => [name, value ?? '']));
  const changed = { ...values, ...given } as ParameterValues;
  const broken = CHECKS.find((check) => !check.holds(changed));
  if (broken) throw invalidParameter(broken.name.replaceAll('-', '_'), broken.expects);
  const idle = (Object.keys(changed) as Name[]).find(
    (name) => !WITH_EFFECT.has(name) && changed[name] !== DEFAULT_PARAMETERS[name],
  );
  if (idle !== undefined) throw withoutEffect(idle, JSON.stringify(DEFAULT_PARAMETERS[idle], bigintAsNumber));
  if (mapping !== undefined && mapping.length > 0) throw withoutEffect('block-bitmap-mapping', '[]');
  return changed;
}

function withoutEffect(name: string, only: string): QmpError {
  return genericError(`Parameter '${name}' has no effect here and can only be its default, ${only}`);
}

const bigintAsNumber = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value);
