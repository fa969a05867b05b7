/** The machine of `-machine none`: no RAM, no vCPUs and no device, so nothing of the host is needed to run it. */
import type { RunnableMachine } from '../lifecycle/runnable_machine.js';

export const NO_MACHINE: RunnableMachine = {
  run: async () => undefined,
  park: async () => undefined,
  reset: async () => undefined,
  wake: async () => undefined,
  pressPowerButton: () => undefined,
  injectNmi: async () => undefined,
};
