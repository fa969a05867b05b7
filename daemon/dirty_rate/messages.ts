/** What main and the thread that measures a dirty rate say to each other. */
import type { RamHandle } from '../../kvm/guest_ram.js';
import type { DirtyRateMeasureMode } from '../../schemas/generated/qmp.js';

/** What the thread is started with. */
export interface DirtyRateData {
  mode: Exclude<DirtyRateMeasureMode, 'dirty-ring'>;
  calcTimeMs: number;
  samplePages: number;
  vmFd: number;
  ram: RamHandle;
  dirtyLogInitiallySet: boolean;
  /** Int32Array of one word, 0 until main wants no result any more: main writes and notifies, the thread waits on it. */
  stop: SharedArrayBuffer;
}

/** Its one message, unless it was told to stop. */
export interface Measured {
  /** MiB a second; -1 where there was nothing to sample. */
  rate: number;
  elapsedMs: number;
}
