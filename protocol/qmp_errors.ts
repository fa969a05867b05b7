/** Error classes of the QAPI schema (qapi/error.json of QEMU 7.2). */
export type QmpErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound' | 'KVMMissingCap';

/** A refusal as it is reported on a QMP socket: `{"error": {"class", "desc"}}`. */
export class QmpError extends Error {
  override name = 'QmpError';
  readonly class: QmpErrorClass;

  constructor(errorClass: QmpErrorClass, desc: string) {
    super(desc);
    this.class = errorClass;
  }

  get desc(): string {
    return this.message;
  }
}

/** A QmpError of class GenericError. */
export function genericError(desc: string): QmpError {
  return new QmpError('GenericError', desc);
}

/** A QmpError of class CommandNotFound. */
export function commandNotFound(desc: string): QmpError {
  return new QmpError('CommandNotFound', desc);
}

/**
 * Every text of the protocol itself, in the words of QEMU 7.2 (recorded from it; include/qapi/qmp/qerror.h for those
 * about parameters). Texts of single commands belong to their handlers.
 */
export const texts = {
  parseError: (what: string) => `JSON parse error, ${what}`,
  stray: (token: string) => `JSON parse error, stray '${token}'`,
  tokenSize: 'JSON token size limit exceeded',
  tokenCount: 'JSON token count limit exceeded',
  nesting: 'JSON nesting depth limit exceeded',

  notAnObject: 'QMP input must be a JSON object',
  lacksExecute: "QMP input lacks member 'execute'",
  memberNotString: (member: string) => `QMP input member '${member}' must be a string`,
  memberNotObject: (member: string) => `QMP input member '${member}' must be an object`,
  memberUnexpected: (member: string) => `QMP input member '${member}' is unexpected`,
  memberClashes: (member: string, other: string) => `QMP input member '${member}' clashes with '${other}'`,
  commandNotFound: (command: string) => `The command ${command} has not been found`,
  notOutOfBand: (command: string) => `The command ${command} does not support OOB`,
  expectingNegotiation: "Expecting capabilities negotiation with 'qmp_capabilities'",
  alreadyNegotiated: 'Capabilities negotiation is already complete, command ignored',

  missing: (parameter: string) => `Parameter '${parameter}' is missing`,
  unexpected: (parameter: string) => `Parameter '${parameter}' is unexpected`,
  wrongType: (parameter: string, type: string) => `Invalid parameter type for '${parameter}', expected: ${type}`,
  expects: (parameter: string, what: string) => `Parameter '${parameter}' expects ${what}`,
  notAccepted: (parameter: string, value: string) => `Parameter '${parameter}' does not accept value '${value}'`,
} as const;

/** A refusal of a parameter's value: `Parameter 'x' expects WHAT`. */
export function invalidParameter(parameter: string, what: string): QmpError {
  return genericError(texts.expects(parameter, what));
}
