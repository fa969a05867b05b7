/** The states in which a guest can arrive from a migration. One that left in another, such as `postmigrate`, arrives `paused`. */
const MIGRATED_RUN_STATES = ['running', 'paused', 'prelaunch', 'shutdown', 'guest-panicked', 'watchdog'] as const;
export type MigratedRunState = (typeof MIGRATED_RUN_STATES)[number];

export function isMigratedRunState(value: unknown): value is MigratedRunState {
  return (MIGRATED_RUN_STATES as readonly unknown[]).includes(value);
}
