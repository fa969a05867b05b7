/** The connection ended, or what came over it is not QMP. */
export class QmpConnectionError extends Error {
  override name = 'QmpConnectionError';
}

/** Something did not come within the time its caller gave it. */
export class QmpTimeoutError extends Error {
  override name = 'QmpTimeoutError';
}
