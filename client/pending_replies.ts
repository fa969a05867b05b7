import { isJsonObject, type JsonObject, type JsonValue } from '../protocol/json_value.js';
import { QmpError, type QmpErrorClass } from '../protocol/qmp_errors.js';
import { QmpConnectionError, QmpTimeoutError } from './errors.js';
import { type Patience, watchPatience } from './patience.js';

interface Pending {
  readonly name: string;
  resolve(value: JsonValue): void;
  reject(reason: unknown): void;
}

/**
 * Commands that wait for their replies, which may come in any order: each is settled exactly once, by its reply, by the end of its
 * caller's patience or by the end of the connection.
 */
export class PendingReplies {
  readonly #pending = new Map<string, Pending>();
  /** Commands that nobody waits for any more, and that the server has not answered. */
  readonly #abandoned = new Set<string>();
  #lastId = 0;

  /** A new command: the id to send with it, and what it returns. Rejects with QmpError when it is refused. */
  add(name: string, patience: Patience): { id: string; reply: Promise<JsonValue> } {
    const id = String(++this.#lastId);
    const reply = new Promise<JsonValue>((resolve, reject) => {
      this.#pending.set(id, { name, resolve, reject });
    });
    const end = watchPatience(
      patience,
      (timeoutMs) => new QmpTimeoutError(`no reply to ${name} within ${timeoutMs} ms`),
      (reason) => {
        const pending = this.#pending.get(id);
        if (!pending) return;
        this.#pending.delete(id);
        this.#abandoned.add(id);
        pending.reject(reason);
      },
    );
    return { id, reply: reply.finally(end) };
  }

  /** Hands a reply to who waits for it. @returns false when it answers no command of this connection */
  settle(message: JsonObject): boolean {
    const { id } = message;
    if (typeof id !== 'string') return false;
    const pending = this.#pending.get(id);
    if (!pending) return this.#abandoned.delete(id);
    this.#pending.delete(id);
    if (isJsonObject(message.error)) {
      pending.reject(new QmpError(String(message.error.class) as QmpErrorClass, String(message.error.desc)));
    } else pending.resolve(message.return as JsonValue);
    return true;
  }

  /** The connection is gone. @param failure what ended it, if it was not closed in order */
  rejectAll(failure: Error | undefined): void {
    for (const { name, reject } of this.#pending.values()) {
      reject(failure ?? new QmpConnectionError(`the QMP connection closed before ${name} was answered`));
    }
    this.#pending.clear();
    this.#abandoned.clear();
  }
}
