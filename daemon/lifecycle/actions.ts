import type { PanicAction, RebootAction, ShutdownAction, WatchdogAction } from '../../schemas/generated/qmp.js';

/** What happens when the guest resets itself, shuts itself down, panics, or lets its watchdog expire (QEMU's `-action`). */
export interface RunActions {
  reboot: RebootAction;
  shutdown: ShutdownAction;
  panic: PanicAction;
  watchdog: WatchdogAction;
}
