/** All that looks into a guest from outside, put together and taken apart. */
import type { Machine } from '../machine/machine.js';
import { GuestMemory } from './guest_memory.js';
import { MemorySaver } from './save_memory.js';

export class Inspection {
  readonly memory: GuestMemory;
  readonly saver: MemorySaver;

  /** @param machine undefined for `-machine none` */
  constructor(machine: Machine | undefined) {
    this.memory = new GuestMemory(machine);
    this.saver = new MemorySaver(this.memory);
  }

  /** Ends what is under way: the daemon ends. */
  close(): void {
    this.saver.close();
  }
}
