import type { DaemonOptions, MemoryBackend } from './daemon_options.js';

/** The options as they are being read, and what only the checks at the end need. */
export interface Draft extends DaemonOptions {
  /** Of `-machine accel=` and of each `-accel`. */
  accels: { option: string; name: string }[];
  backends: MemoryBackend[];
  /** `-machine memory-backend=`. */
  memoryBackendId?: string;
}

/** One option of the command line. */
export interface OptionSpec {
  /** What it takes, for the usage text; none, if absent. */
  readonly form?: string;
  /** What it does, for the usage text. */
  readonly help: string;
  /** Reads the argument into the draft. @throws UsageError */
  readonly apply: (draft: Draft, value: string) => void;
}

/** Options by their name, with one dash. */
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;
