/** A worker's synchronous end of its port: main posts, then wakes the thread by its control word. */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { CONTROL } from './progress.js';

export class Mailbox<T> {
  readonly #port: MessagePort;
  readonly #control: Int32Array;

  constructor(port: MessagePort, control: Int32Array) {
    this.#port = port;
    this.#control = control;
  }

  /** A message that is there already. */
  take(): T | undefined {
    return (receiveMessageOnPort(this.#port) as { message: T } | undefined)?.message;
  }

  /** Waits for a message, or for main to change a control word: at most `timeoutMs`. */
  wait(timeoutMs: number): T | undefined {
    const seen = Atomics.load(this.#control, CONTROL.WAKE);
    const message = this.take();
    if (message !== undefined) return message;
    Atomics.wait(this.#control, CONTROL.WAKE, seen, timeoutMs);
    return this.take();
  }
}
