/** Values that are words of a command line and members of a QMP command: read by what its schema says they are. */
import type { JsonValue } from '../../protocol/json_value.js';
import { genericError, invalidParameter, texts } from '../../protocol/qmp_errors.js';
import { resolve } from '../../protocol/schema_walk.js';
import { COMMANDS, TYPES } from '../../schemas/generated/qmp.js';
import type { SchemaNode } from '../../schemas/schema_node.js';
import { parseSize } from './size.js';

const MIB = 1n << 20n;
const MAX_INT64 = 2n ** 63n - 1n;

/** Values that mean on and off to QEMU's string visitor (qapi_bool_parse). */
const ON: readonly string[] = ['on', 'yes', 'true', 'y'];
const OFF: readonly string[] = ['off', 'no', 'false', 'n'];

/** Members whose plain numbers are MiB (hmp_migrate_set_parameter of QEMU). */
const IN_MIB: ReadonlySet<string> = new Set(['max-bandwidth']);

/** Refuses a word that is not one of those there are. @throws QmpError */
export function checkWord(allowed: readonly string[], word: string): void {
  if (!allowed.includes(word)) throw genericError(`invalid parameter value: ${word}`);
}

/** Values of a type that is a list of words. */
function enumValues(type: string): readonly string[] {
  return (TYPES[type] as SchemaNode).oneOf?.map((value) => value.const) ?? [];
}

export const capabilityNames = (): readonly string[] => enumValues('MigrationCapability');

export const watchdogActions = (): readonly string[] => enumValues('WatchdogAction');

export const migrationStatuses = (): readonly string[] => enumValues('MigrationStatus');

const migrationParameters = () => COMMANDS['migrate-set-parameters'].arguments.properties ?? {};

export const migrationParameterNames = (): readonly string[] => Object.keys(migrationParameters());

/** The value of a migration parameter as `migrate-set-parameters` takes it. @throws QmpError */
export function migrationParameterValue(name: string, text: string): JsonValue {
  const node = resolve(migrationParameters()[name] as SchemaNode);
  const kind = node['x-qapi'];
  if (IN_MIB.has(name)) {
    const size = parseSize(text, MIB);
    if (size === undefined || size > MAX_INT64) throw genericError(`Invalid size ${text}`);
    return size;
  }
  if (kind === 'size' || kind === 'uint64') return sizeValue(name, text);
  switch (node.type) {
    case 'integer':
      return integerValue(name, text);
    case 'boolean':
      if (ON.includes(text)) return true;
      if (OFF.includes(text)) return false;
      throw invalidParameter(name, "'on' or 'off'");
    case 'array':
      throw genericError(`The ${name} parameter can only be set through QMP`);
    default:
      return text;
  }
}

function sizeValue(name: string, text: string): bigint {
  const size = parseSize(text, 1n);
  if (size !== undefined) return size;
  throw genericError(
    `${texts.expects(name, 'a non-negative number below 2^64')}\n` +
      'Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.',
  );
}

/** What strtoull(3) with base 0 takes whole. */
function integerValue(name: string, text: string): bigint {
  const [, sign, digits = ''] = /^\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text) ?? [];
  if (digits === '') throw invalidParameter(name, 'uint64');
  const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits}` : digits);
  return sign === '-' ? BigInt.asUintN(64, -value) : value;
}
