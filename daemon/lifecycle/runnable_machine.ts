import type { EntryRegisters } from '../vcpu/messages.js';

/** What the lifecycle needs of a machine. */
export interface RunnableMachine {
  /** Sets all vCPUs going. `resumed`: the guest ran before and was stopped. */
  run(resumed: boolean): Promise<void>;
  /** Resolves when no vCPU runs guest code any more. */
  park(): Promise<void>;
  /** Back to power-on state; the first vCPU then enters at `entry`. All vCPUs are parked. */
  reset(entry: EntryRegisters | undefined): Promise<void>;
  /** Reset, but for its memory. All vCPUs are parked. */
  wake(): Promise<void>;
  pressPowerButton(): void;
  /** Every vCPU gets a non-maskable interrupt. */
  injectNmi(): Promise<void>;
}
