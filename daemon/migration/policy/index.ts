/** The policies of live migration: see policy.ts for how an engine uses one. */
import { MplmPolicy } from './mplm.js';
import type { MigrationPolicy } from './policy.js';
import { PrecopyPolicy } from './precopy.js';
import type { MplmSettings } from './settings.js';
import type { GuestPages } from './staged_policy.js';

export { AutoConverge, type ThrottleParameters } from './auto_converge.js';
export { MAX_PAGES, PageBitmap } from './bitmap.js';
export type { EpochRecord } from './epochs.js';
export { MplmPolicy } from './mplm.js';
export type { LinkFigures, MigrationPolicy, PolicyStage, Step, SyncResult } from './policy.js';
export { checkDowntimeLimit, MAX_DOWNTIME_LIMIT_MS, PrecopyPolicy } from './precopy.js';
export { FROM_DIRTY, FROM_NON_DIRTY, PageRanges, type RangeOrigin } from './ranges.js';
export { DEFAULT_MPLM_SETTINGS, type MplmSettings, mplmSettings, SettingError } from './settings.js';
export type { GuestPages } from './staged_policy.js';

/**
 * The policy of one migration: MPLM, or classic pre-copy when that is disabled.
 * @throws SettingError when a setting is out of its range
 */
export function createPolicy(guest: GuestPages, settings: MplmSettings, downtimeLimitMs: number): MigrationPolicy {
  return settings.enable ? new MplmPolicy(guest, settings) : new PrecopyPolicy(guest, downtimeLimitMs);
}
