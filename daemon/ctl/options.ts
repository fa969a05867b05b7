import { parseArgs } from 'node:util';
import { UsageError } from '../cli/values.js';

export interface CtlOptions {
  readonly socket: string | undefined;
  readonly help: boolean;
  readonly compact: boolean;
  readonly timeoutMs: number | undefined;
  readonly wait: boolean;
  readonly progress: boolean;
  readonly follow: boolean;
  readonly events: readonly string[];
  readonly words: readonly string[];
}

const OPTIONS = {
  socket: { type: 'string', short: 's' },
  help: { type: 'boolean', short: 'h' },
  compact: { type: 'boolean', short: 'c' },
  timeout: { type: 'string', short: 't' },
  wait: { type: 'boolean', short: 'w' },
  progress: { type: 'boolean', short: 'p' },
  follow: { type: 'boolean', short: 'f' },
  event: { type: 'string', short: 'e', multiple: true },
} as const;

/** Reads vmhostctl's command line, or a line of its shell. @throws UsageError */
export function parseCtlOptions(
  argv: readonly string[],
  env: { VMHOSTCTL_SOCKET?: string | undefined } = {},
): CtlOptions {
  const { values, positionals } = parse(argv);
  return {
    // As in a shell, a variable that is empty is as good as none.
    socket: values.socket ?? (env.VMHOSTCTL_SOCKET || undefined),
    help: values.help ?? false,
    compact: values.compact ?? false,
    timeoutMs: values.timeout === undefined ? undefined : timeout(values.timeout),
    wait: values.wait ?? false,
    progress: values.progress ?? false,
    follow: values.follow ?? false,
    events: values.event ?? [],
    words: positionals,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** The longest time of a timer, in seconds. */
const MAX_SECONDS = (2 ** 31 - 1) / 1000;

function timeout(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds > 0 && seconds <= MAX_SECONDS)) {
    throw new UsageError(`--timeout: '${text}' is no number of seconds up to ${Math.floor(MAX_SECONDS)}`);
  }
  return seconds * 1000;
}
