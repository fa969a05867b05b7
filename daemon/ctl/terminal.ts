import type { Output } from './progress_bar.js';

/** What the commands of vmhostctl have of the terminal they run on, be it for one command or in the shell. */
export interface Terminal {
  /** Where progress goes: never mixed with what a command returns. */
  readonly progress: Output;
  /** Says something to the user, on a line of its own. */
  note(text: string): void;
  /** Calls `handler` at each Ctrl-C until it is disposed of. */
  onInterrupt(handler: () => void): Disposable;
}

/** The user ended it with Ctrl-C. */
export class Interrupted extends Error {}
