/** All that looks into a guest from outside, put together and taken apart. */
import { DirtyRate } from '../dirty_rate/dirty_rate.js';
import { GuestDump, type GuestDumpOptions } from '../dump/guest_dump.js';
import type { Machine } from '../machine/machine.js';
import { GuestMemory } from './guest_memory.js';
import { MemorySaver } from './save_memory.js';

export interface InspectionOptions extends Omit<GuestDumpOptions, 'memory'> {
  /** Undefined for `-machine none`. */
  machine: Machine | undefined;
}

export class Inspection {
  readonly memory: GuestMemory;
  readonly saver: MemorySaver;
  readonly dump: GuestDump;
  readonly dirtyRate: DirtyRate;

  constructor(options: InspectionOptions) {
    this.memory = new GuestMemory(options.machine);
    this.saver = new MemorySaver(this.memory);
    this.dump = new GuestDump({ ...options, memory: this.memory });
    this.dirtyRate = new DirtyRate(options);
  }

  /** Why no migration may begin now, one reason each. */
  get migrationBlockers(): string[] {
    return [this.dump.migrationBlocker].filter((reason) => reason !== undefined);
  }

  /** Ends what is under way: the daemon ends. */
  async close(): Promise<void> {
    this.saver.close();
    this.dump.close();
    await this.dirtyRate.close();
  }
}
