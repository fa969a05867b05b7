import type { Chardevs } from '../chardev/chardevs.js';
import type { DaemonOptions } from '../cli/daemon_options.js';
import type { FdSets } from '../fds/fd_sets.js';
import type { Lifecycle } from '../lifecycle/lifecycle.js';
import type { Machine } from '../machine/machine.js';
import type { Inspection } from '../memory/inspection.js';
import type { Migrations } from '../migration/migrations.js';

/** What commands work on. */
export interface CommandTargets {
  readonly options: DaemonOptions;
  /** Undefined for `-machine none`. */
  readonly machine: Machine | undefined;
  readonly lifecycle: Lifecycle;
  readonly migrations: Migrations;
  readonly inspection: Inspection;
  readonly fdSets: FdSets;
  readonly chardevs: Chardevs;
  /** Ends the daemon once the reply is out. */
  readonly quit: () => void;
}
