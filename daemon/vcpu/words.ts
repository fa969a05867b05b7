/**
 * The words that one vCPU thread shares with the rest of the process (Int32Array over a SharedArrayBuffer).
 *
 * | word   | written by            | read by         | ordering                                                        |
 * | ------ | --------------------- | --------------- | --------------------------------------------------------------- |
 * | WAKE   | whoever posts a request | the vCPU thread | after the request is in its port; the thread compares and waits |
 * | FENCE  | the vCPU thread       | nobody          | a full barrier between clearing `immediate_exit` and reading WAKE |
 * | STATE  | the vCPU thread       | anyone          | one of VCPU_STATE                                               |
 * | EXITS  | the vCPU thread       | anyone          | counts exits to user space, wraps                               |
 * | SLEEP_US | main; the vCPU thread clears it | the vCPU thread | before `immediate_exit`: how long to sleep before entering the guest |
 */
export const WORD = { WAKE: 0, FENCE: 1, STATE: 2, EXITS: 3, SLEEP_US: 4 } as const;
export const WORD_COUNT = 16;

export const VCPU_STATE = { STARTING: 0, PARKED: 1, RUNNING: 2, ENDED: 3 } as const;

export function createVcpuWords(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORD_COUNT * 4);
}
