/** The loads under which migrations are compared. Guest parameters: guest/README.md. */

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly ramMib: number;
  /** The guest's command line, heartbeats aside. */
  readonly load: string;
  /** A line of the guest that says that its load is under way. */
  readonly ready: RegExp;
}

/** Milliseconds between two heartbeats of these: how finely the guest's own standstill is seen. */
export const HEARTBEAT_MS = 10;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'idle',
    title: 'idle: 2 GiB, of which 1 GiB is filled',
    ramMib: 2048,
    load: 'fill=1024',
    ready: /^HB 20 /,
  },
  {
    name: 'paced',
    title: 'paced: the same, 64 MiB of it rewritten at 20,000 pages/s',
    ramMib: 2048,
    load: 'fill=1024 ws=64 rate=20000',
    ready: /^HB \d+ passes=[1-9]/,
  },
  {
    name: 'flat-out',
    title: 'flat out: the same, 512 MiB of it rewritten as fast as the processor can',
    ramMib: 2048,
    load: 'fill=1024 ws=512 rate=max',
    ready: /^HB \d+ passes=[1-9]/,
  },
];
