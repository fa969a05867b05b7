/** TAP for a run that is no tap process: one line a check, as soon as it is known. */

/** Runs checks one after the other and counts them. */
export class Report {
  #passed = 0;
  #failed = 0;
  readonly #print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  get failed(): number {
    return this.#failed;
  }

  /**
   * Runs `body`; the check passes unless it throws. `diagnose` tells what may explain a failure.
   * @returns whether it passed
   */
  async check(title: string, body: () => Promise<void>, diagnose: () => string = () => ''): Promise<boolean> {
    const startedMs = performance.now();
    let failure: string | undefined;
    try {
      await body();
    } catch (error) {
      failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    if (failure === undefined) this.#passed++;
    else this.#failed++;
    this.#print(`${failure === undefined ? 'ok' : 'not ok'} ${this.#passed + this.#failed} - ${title}`);
    this.note(`${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
    if (failure !== undefined) this.note(`${failure}\n${diagnose()}`);
    return failure === undefined;
  }

  /** Says something that decides nothing. */
  note(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.#print(`# ${line}`);
  }

  /** Prints the plan and the closing line. */
  end(): void {
    this.#print(`1..${this.#passed + this.#failed}`);
    this.#print(`${this.#passed} passed, ${this.#failed} failed`);
  }
}
