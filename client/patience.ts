/** How long a caller is ready to wait: for ever where nothing is given. */
export interface Patience {
  readonly timeoutMs?: number | undefined;
  /** Its `reason` is what the wait is rejected with. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `giveUp` once, with what to reject with, when patience ends; an aborted signal ends it at once.
 * @param late makes the error of a wait that took too long
 * @returns ends the watch
 */
export function watchPatience(
  { timeoutMs, signal }: Patience,
  late: (timeoutMs: number) => Error,
  giveUp: (reason: unknown) => void,
): () => void {
  const abort = (): void => giveUp(signal?.reason);
  if (signal?.aborted) {
    abort();
    return () => undefined;
  }
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => giveUp(late(timeoutMs)), timeoutMs);
  signal?.addEventListener('abort', abort, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  };
}
