import { argumentsFromText } from '../../client/arguments_from_text.js';
import type { QmpClient } from '../../client/qmp_client.js';
import { UsageError } from '../cli/values.js';
import { MigrationCancelled } from './follow_migration.js';
import { type Job, jobOf } from './jobs.js';
import { ProgressBar } from './progress_bar.js';
import { Interrupted, type Terminal } from './terminal.js';

/** A command as it was typed. */
export interface Request {
  readonly command: string;
  readonly words: readonly string[];
  /** Waits for the end of what the command begins. */
  readonly wait: boolean;
  /** Waits, and shows how far a migration is. */
  readonly progress: boolean;
}

/**
 * Executes a command, and waits for the end of its job where that is asked for.
 * @param signal gives up the waiting; its reason is thrown
 * @returns what it returns; of a job that was waited for, its query's last answer
 * @throws UsageError, QmpError, Interrupted, or an Error with one sentence
 */
export async function runCommand(
  client: QmpClient,
  request: Request,
  terminal: Terminal,
  signal?: AbortSignal,
): Promise<unknown> {
  const args = readArguments(request);
  using job = request.wait || request.progress ? jobOf(client, request.command) : undefined;
  const returned = await client.executeRaw(request.command, args, { signal });
  // Awaited here: leaving this function ends the job's watch.
  return job ? await follow(client, job, request.progress, terminal, signal) : returned;
}

/** @throws UsageError before anything is sent */
export function readArguments({ command, words }: Request): object | undefined {
  try {
    return words.length > 0 ? argumentsFromText(command, words) : undefined;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function follow(
  client: QmpClient,
  job: Job,
  progress: boolean,
  terminal: Terminal,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const bar = progress ? new ProgressBar(terminal.progress) : undefined;
  const leave = new AbortController();
  signal?.addEventListener('abort', () => leave.abort(signal.reason), { once: true });
  let cancelling = false;
  using _ = terminal.onInterrupt(() => {
    bar?.end();
    if (job.cancel === undefined || cancelling) {
      leave.abort(new Interrupted(`no longer waiting; ${job.name} goes on`));
      return;
    }
    cancelling = true;
    terminal.note(`cancelling ${job.name}; another Ctrl-C leaves without waiting for its end`);
    // A connection that ends meanwhile ends the waiting too, with the cause.
    client.execute(job.cancel).catch(() => undefined);
  });
  try {
    return await job.follow({
      signal: leave.signal,
      onProgress: (info) => bar?.show(info, performance.now()),
    });
  } catch (error) {
    if (cancelling && error instanceof MigrationCancelled) throw new Interrupted(error.message);
    throw error;
  } finally {
    bar?.end();
  }
}
