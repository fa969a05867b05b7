/** What main and a vCPU thread say to each other. Every request gets exactly one answer. */
import type { RamHandle } from '../../kvm/guest_ram.js';
import type { KvmCpuidEntry, KvmRegs, KvmSegment, KvmSregs } from '../../kvm/structs.js';
import type { VcpuRegisters, VcpuTraits } from '../../kvm/vcpu.js';
import type { SleepingState } from '../devices/device.js';
import type { DeviceSetup } from '../devices/pc_devices.js';

/** Registers that differ from a vCPU's power-on state when a kernel is entered. */
export interface EntryRegisters {
  regs: Partial<KvmRegs>;
  sregs: Partial<Omit<KvmSregs, 'cs' | 'ds' | 'es' | 'fs' | 'gs' | 'ss' | 'tr' | 'ldt'>> &
    Partial<Record<'cs' | 'ds' | 'es' | 'fs' | 'gs' | 'ss' | 'tr' | 'ldt', Partial<KvmSegment>>>;
}

/** What a vCPU thread is started with. */
export interface VcpuThreadData {
  id: number;
  vmFd: number;
  vcpuFd: number;
  mmapSize: number;
  traits: VcpuTraits;
  cpuid: KvmCpuidEntry[];
  words: SharedArrayBuffer;
  ram: RamHandle;
  devices: DeviceSetup;
}

export type VcpuRequest =
  /** `resumed`: the guest was stopped by a user or a migration, and its watchdogs should know. */
  | { type: 'run'; resumed: boolean }
  | { type: 'park' }
  /** Answer: all state, as JSON text. */
  | { type: 'save' }
  | { type: 'load'; state: unknown }
  /** Back to power-on state, then `entry` on top where given. */
  | { type: 'reset'; entry?: EntryRegisters }
  /** Answer: what a debugger shows. The guest goes on, as it does with all that follow. */
  | { type: 'registers' }
  /** Answer: guest-physical addresses of guest-virtual ones, undefined where nothing is mapped. */
  | { type: 'translate'; addresses: readonly bigint[] }
  /** A non-maskable interrupt, by the board's line. */
  | { type: 'nmi' }
  /** Answer: a new fd of the vCPU's statistics, which is then main's. */
  | { type: 'stats-fd' }
  | { type: 'quit' };

/** Answers by request. */
export interface VcpuAnswers {
  run: undefined;
  park: undefined;
  nmi: undefined;
  save: string;
  load: undefined;
  reset: undefined;
  registers: VcpuRegisters;
  translate: (bigint | undefined)[];
  'stats-fd': number;
  quit: undefined;
}

/** Why a guest stopped by itself. */
export type GuestStop =
  | { cause: 'reset'; by: string }
  | { cause: 'shutdown'; by: string }
  | { cause: 'sleep'; state: SleepingState }
  /** By the pvpanic device. */
  | { cause: 'panicked' | 'crash-loaded' }
  | { cause: 'internal-error'; details: string }
  | { cause: 'debug-exit'; code: number };

/**
 * What main should look at. `serial`: bytes wait in the transmit ring, or there is room again for received ones; `watchdog`: it was started or
 * stopped; `rtc`: the clock was set.
 */
export type DeviceActivity = 'serial' | 'watchdog' | 'rtc';

export type VcpuMessage =
  | { type: 'ready'; threadId: number }
  | { type: 'answer'; request: number; value?: unknown; error?: string }
  /** The thread has parked itself. */
  | { type: 'guest-stop'; stop: GuestStop }
  | { type: 'activity'; of: DeviceActivity };
