/** What main and the migration threads say to each other. */
import type { RamHandle } from '../../kvm/guest_ram.js';
import type { Hello } from '../../protocol/migration_stream.js';
import type { MigratedRunState } from '../lifecycle/migrated_run_states.js';
import type { ArrivedSection, SavedSection } from '../machine/machine.js';
import type { MigrationStage } from './errors.js';
import type { EpochRecord } from './policy/epochs.js';
import type { MplmSettings } from './policy/settings.js';
import type { SharedProgress } from './progress.js';
import type { LinkData } from './transport.js';

/** What both threads are started with. Fds are main's: it closes them once the thread is gone. */
interface ThreadData {
  ram: RamHandle;
  machine: Hello['machine'];
  progress: SharedProgress;
}

export interface OutgoingData extends ThreadData {
  link: LinkData;
  /** No answers come back. */
  oneWay: boolean;
  /** Slow the guest down while it dirties more than is sent. */
  autoConverge: boolean;
  /** Wait for main between pausing the guest and sending the rest. */
  pauseBeforeSwitchover: boolean;
  /** The guest's, where the destination shall have the same. */
  uuid: string | undefined;
  vmFd: number;
  mplm: MplmSettings;
  maxBufferBytes: number;
  dirtyLogInitiallySet: boolean;
}

/** What DIGEST says of the whole stream, and of the guest. */
export interface Digest {
  normalPages: number;
  zeroPages: number;
  sections: number;
  runState: MigratedRunState;
  /** The guest asked for a reset in the moment it was paused. */
  pendingReset: boolean;
}

/** Milliseconds of each part of a downtime, as its side measured them. */
export type DowntimeBreakdown = Record<string, number>;

export type OutgoingMessage =
  /** The channel is there. */
  | { type: 'active'; setupMs: number }
  /** A sync of the dirty log: pass number from 1. */
  | { type: 'pass'; pass: number }
  /** Take this share of the vCPUs' time from now on. */
  | { type: 'throttle'; percent: number }
  /** The live stage is over: park the vCPUs, answer `paused`, then the state. */
  | { type: 'pause' }
  /** The wait before the switchover is over: send the state. */
  | { type: 'device' }
  /** Of a one-way channel, all was sent: close it, answer `finished` once its reader has taken all. */
  | { type: 'finish' }
  | { type: 'completed'; downtimeMs: number; breakdown: DowntimeBreakdown; endedMs: number }
  /** `outcomeUnknown`: COMMIT was sent and no RUNNING came back. */
  | { type: 'failed'; stage: MigrationStage; cause: string; outcomeUnknown: boolean }
  | { type: 'cancelled' }
  /** Ended epochs so far. */
  | { type: 'epochs'; records: EpochRecord[] };

/** Main to the outgoing thread. */
export type ToOutgoing =
  | { type: 'paused' }
  /** The user says that the switchover may be. */
  | { type: 'continue' }
  | { type: 'finished' }
  | { type: 'state'; sections: SavedSection[]; runState: string; pendingReset: boolean }
  /** The guest could not be paused or read, or the reader of a one-way channel failed. */
  | { type: 'failed'; cause: string };

export interface IncomingData extends ThreadData {
  /** Where the stream comes from; a number: a listening socket, on which it is waited for. */
  from: number | LinkData;
  /** Of sockets that come in there. */
  tcp: boolean;
  /** This machine's, where it takes no other guest than its own. */
  uuid: string | undefined;
  maxBufferBytes: number;
}

export type IncomingMessage =
  /** A source connected on this fd, which is main's now. */
  | { type: 'connected'; fd: number }
  | { type: 'active' }
  /** All of RAM is here: load this, answer `loaded` or `refused`. */
  | { type: 'load'; sections: ArrivedSection[]; digest: Digest }
  /** The machine is this side's now: run it, answer `running`. */
  | { type: 'commit' }
  /** `warning`: what went wrong too late to change the outcome. */
  | { type: 'completed'; warning?: string }
  | { type: 'failed'; stage: MigrationStage; cause: string };

/** Main to the incoming thread. */
export type ToIncoming = { type: 'loaded' } | { type: 'refused'; reason: string } | { type: 'running' };
