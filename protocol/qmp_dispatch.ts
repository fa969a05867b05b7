import type { VersionInfo } from '../schemas/generated/qmp.js';
import type { JsonResult } from './json_reader.js';
import { isJsonObject, type JsonObject, type JsonValue, memberNames } from './json_value.js';
import { qdictOrder } from './json_writer.js';
import { type Command, findCommand } from './qmp_commands.js';
import { commandNotFound, genericError, QmpError, texts } from './qmp_errors.js';

/** The command that the session itself executes. */
export const NEGOTIATION = 'qmp_capabilities';

/** What is to be done about one input: send a reply, or run a command and send its outcome. */
export type Dispatch =
  | { readonly kind: 'reply'; readonly message: object }
  | {
      readonly kind: 'run';
      readonly command: Command;
      readonly args: { [name: string]: unknown };
      /** The reply for what the handler returned, with the request's id. */
      readonly success: (returned: unknown) => object;
      /** The reply for a refusal, with the request's id. */
      readonly failure: (error: QmpError) => object;
    };

/**
 * One client's session of the QMP protocol, as a pure state machine: capability negotiation, the order of checks and the
 * texts of QEMU 7.2 (monitor/qmp.c, qapi/qmp-dispatch.c). It does no I/O and runs no command.
 */
export class QmpSession {
  readonly #find: (name: string) => Command | undefined;
  #negotiated = false;
  #oob = false;

  /** `find` yields the commands that can be executed; qmp_capabilities is the session's own. */
  constructor(find: (name: string) => Command | undefined) {
    this.#find = find;
  }

  /** True once negotiation is complete: the client is sent events from then on. */
  get negotiated(): boolean {
    return this.#negotiated;
  }

  /** True when the client enabled out-of-band execution. */
  get oob(): boolean {
    return this.#oob;
  }

  /** The greeting, to be sent before anything else. */
  greeting(version: VersionInfo): object {
    const { qemu } = version;
    const triple = { major: qemu.major, minor: qemu.minor, micro: qemu.micro };
    return { QMP: { version: { qemu: triple, package: version.package }, capabilities: ['oob'] } };
  }

  /** True for input that may overtake commands which are still queued. */
  isOutOfBand(input: JsonResult): boolean {
    if (!this.#oob || !('value' in input) || !isJsonObject(input.value)) return false;
    return Object.hasOwn(input.value, 'exec-oob') && !Object.hasOwn(input.value, 'execute');
  }

  /** Takes one result of the JSON reader. */
  dispatch(input: JsonResult): Dispatch {
    if ('error' in input) return reply(failureMessage(undefined, genericError(input.error)));
    const request = input.value;
    const id = isJsonObject(request) ? request.id : undefined;
    try {
      if (!isJsonObject(request)) throw genericError(texts.notAnObject);
      return this.#request(request, id);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      // QEMU replaces the text of whatever is not found during negotiation.
      const expecting = !this.#negotiated && error.class === 'CommandNotFound';
      return reply(failureMessage(id, expecting ? commandNotFound(texts.expectingNegotiation) : error));
    }
  }

  #request(request: JsonObject, id: JsonValue | undefined): Dispatch {
    const key = this.#checkMembers(request);
    const name = request[key] as string;
    const isNegotiation = name === NEGOTIATION;
    const command = isNegotiation ? findCommand(name) : this.#negotiated ? this.#find(name) : undefined;
    if (!command) throw commandNotFound(texts.commandNotFound(name));
    if (key === 'exec-oob' && !command.allowOob) throw genericError(texts.notOutOfBand(name));
    const args = command.readArguments((request.arguments as JsonObject | undefined) ?? {});
    if (isNegotiation) {
      if (this.#negotiated) throw commandNotFound(texts.alreadyNegotiated);
      this.#negotiated = true;
      this.#oob = ((args.enable as string[] | undefined) ?? []).includes('oob');
      return reply(successMessage(id, {}));
    }
    return {
      kind: 'run',
      command,
      args,
      success: (returned) => successMessage(id, command.returned(returned)),
      failure: (error) => failureMessage(id, error),
    };
  }

  /** Checks the members of a request in QDict order; the first offence counts. Returns the member that names the command. */
  #checkMembers(request: JsonObject): 'execute' | 'exec-oob' {
    let key: 'execute' | 'exec-oob' | undefined;
    for (const name of qdictOrder(memberNames(request))) {
      const value = request[name];
      if (name === 'execute' || (name === 'exec-oob' && this.#oob)) {
        if (typeof value !== 'string') throw genericError(texts.memberNotString(name));
        if (key) throw genericError(texts.memberClashes(name, key));
        key = name;
      } else if (name === 'arguments') {
        if (!isJsonObject(value)) throw genericError(texts.memberNotObject(name));
      } else if (name !== 'id') {
        throw genericError(texts.memberUnexpected(name));
      }
    }
    if (!key) throw genericError(texts.lacksExecute);
    return key;
  }
}

function reply(message: object): Dispatch {
  return { kind: 'reply', message };
}

/** `{"return", "id"}`: the id is put in last, and only when the request had one. */
function successMessage(id: JsonValue | undefined, value: unknown): object {
  return { return: value, id };
}

function failureMessage(id: JsonValue | undefined, error: QmpError): object {
  return { error: { class: error.class, desc: error.desc }, id };
}
