/** Where a migration is, or was when it failed: in order. */
export const MIGRATION_STAGES = ['connect', 'handshake', 'live', 'stop-and-copy', 'load', 'commit'] as const;
export type MigrationStage = (typeof MIGRATION_STAGES)[number];

/** A migration's end, with the stage and the cause. Both sides report one. */
export class MigrationError extends Error {
  readonly stage: MigrationStage;
  readonly reason: string;

  constructor(stage: MigrationStage, reason: string) {
    super(describeFailure(stage, reason));
    this.name = 'MigrationError';
    this.stage = stage;
    this.reason = reason;
  }
}

/** The user cancelled. */
export class CancelledError extends Error {
  constructor() {
    super('the migration was cancelled');
    this.name = 'CancelledError';
  }
}

/**
 * The sentence users see in `error-desc` and in the log. A failure to connect stands alone, as QEMU's does, and so does one of a channel that is no
 * socket: it is all that is known.
 */
export function describeFailure(stage: MigrationStage, reason: string): string {
  // A reason may quote what a peer sent, which shall not forge lines of a log or speak to a terminal.
  const shown = reason.replace(/\p{Cc}+/gu, ' ');
  if (stage === 'connect' || /^Unable to write to (file|command): /.test(shown)) return shown;
  return `Migration failed in stage '${stage}': ${shown}`;
}

/** A connection that was refused, in QEMU's words. @param target as the user named it */
export function connectFailure(target: string, reason: string): string {
  return `Failed to connect to '${target}': ${reason}`;
}
