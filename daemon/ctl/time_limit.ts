/** A signal that ends whatever waits for it after `ms`, if that is given. Its timer does not keep the process alive. */
export function timeLimit(ms: number | undefined): AbortSignal | undefined {
  if (ms === undefined) return undefined;
  const limit = new AbortController();
  setTimeout(() => limit.abort(new Error(`not done within ${ms / 1000} s`)), ms).unref();
  return limit.signal;
}
