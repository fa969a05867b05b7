/** The daemon's log: one pino logger on standard error, written synchronously so that the last words are never lost. */
import pino from 'pino';

export type DaemonLog = pino.Logger;

/** @param level pino's level name; `VMHOSTD_LOG` in the environment */
export function createLog(level = process.env.VMHOSTD_LOG ?? 'warn'): DaemonLog {
  return pino(
    { level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
}
