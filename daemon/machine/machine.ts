/**
 * One virtual machine: RAM, chips, devices and vCPU threads. It can be paused, resumed, reset, saved and loaded; when that is done, and what the
 * world is told of it, is the lifecycle's business.
 */
import { GuestRam } from '../../kvm/guest_ram.js';
import { Kvm } from '../../kvm/kvm.js';
import { Mapping } from '../../kvm/memory.js';
import { installKickHandler } from '../../kvm/signals.js';
import { vmStateFromJson, vmStateToJson } from '../../kvm/state_json.js';
import type { VcpuTraits } from '../../kvm/vcpu.js';
import type { Vm } from '../../kvm/vm.js';
import { createDeviceSetup, type DeviceOptions, PcDevices, UNCONNECTED } from '../devices/pc_devices.js';
import { CpuThrottle } from '../vcpu/cpu_throttle.js';
import type { DeviceActivity, EntryRegisters, GuestStop, VcpuRequest, VcpuThreadData } from '../vcpu/messages.js';
import { VcpuThread } from '../vcpu/vcpu_thread.js';
import { createVcpuWords } from '../vcpu/words.js';
import { type CpuChoice, resolveCpu } from './cpu_models.js';
import { offeredCpuid, vcpuCpuid } from './cpuid.js';
import { type Firmware, shadowFirmware } from './firmware.js';
import { WatchdogTimer } from './watchdog_timer.js';

export interface MachineOptions {
  ramBytes: number;
  vcpus: number;
  cpu: CpuChoice;
  devices: DeviceOptions;
  /** What the first vCPU starts in where no kernel is entered: `-bios`, or code that does nothing. */
  firmware: Firmware;
}

/** What a machine reports by itself. */
export interface MachineListener {
  guestStop(vcpu: number, stop: GuestStop): void;
  serialActivity(): void;
  /** The guest set its clock that many seconds ahead of the host's. */
  rtcChanged(offsetSeconds: number): void;
  watchdogExpired(): void;
  vcpuCrashed(vcpu: number, error: Error): void;
  /** The machine is not all that was asked for. */
  warn(sentence: string): void;
}

/** One part of a machine's state as it leaves: JSON text of an object, small enough for one frame of a migration stream. */
export interface SavedSection {
  name: string;
  json: string;
}

/** One part of a machine's state as it arrives: not yet checked. */
export interface ArrivedSection {
  name: string;
  data: Record<string, unknown>;
}

export class Machine {
  readonly options: MachineOptions;
  readonly ram: GuestRam;
  readonly rom: Mapping;
  readonly vm: Vm;
  readonly devices: PcDevices;
  readonly vcpus: readonly VcpuThread[];
  /** A dirty log starts with every page set. */
  readonly dirtyLogInitiallySet: boolean;
  /** Slows all vCPUs down. */
  readonly throttle: CpuThrottle;
  /** The guest's clock at the last pause, while it is paused. */
  #pausedClock: bigint | undefined;
  #running = false;
  readonly #listener: MachineListener;
  readonly #watchdog: WatchdogTimer | undefined;
  #disposed: Promise<void> | undefined;

  private constructor(
    parts: Pick<Machine, 'options' | 'ram' | 'rom' | 'vm' | 'devices' | 'vcpus' | 'dirtyLogInitiallySet'>,
    listener: MachineListener,
  ) {
    this.options = parts.options;
    this.ram = parts.ram;
    this.rom = parts.rom;
    this.vm = parts.vm;
    this.devices = parts.devices;
    this.vcpus = parts.vcpus;
    this.throttle = new CpuThrottle(parts.vcpus);
    this.dirtyLogInitiallySet = parts.dirtyLogInitiallySet;
    this.#listener = listener;
    const { watchdog } = parts.devices;
    if (watchdog) {
      const guestClockNs = () => this.#pausedClock ?? this.vm.getClock();
      this.#watchdog = new WatchdogTimer(watchdog, guestClockNs, () => listener.watchdogExpired());
    }
  }

  /**
   * Makes the machine, its vCPUs parked at power-on state.
   * @throws SysError, MissingCapabilityError: what this host's KVM refuses
   */
  static async create(options: MachineOptions, listener: MachineListener): Promise<Machine> {
    const acquired: Disposable[] = [];
    const own = <T extends Disposable>(resource: T): T => {
      acquired.push(resource);
      return resource;
    };
    try {
      using kvm = Kvm.open();
      const maxVcpus = kvm.capability('KVM_CAP_MAX_VCPUS');
      if (options.vcpus > maxVcpus)
        throw new Error(`${options.vcpus} vCPUs are more than this host's KVM runs (${maxVcpus})`);
      installKickHandler();
      const ram = own(GuestRam.create(options.ramBytes));
      const rom = own(Mapping.anonymous(options.firmware.image.length));
      rom.view(0, rom.byteLength).set(options.firmware.image);
      const vm = own(kvm.createVm());
      vm.createChips();
      vm.setRam(ram);
      vm.setRom(rom);
      const { initiallySet } = vm.useManualDirtyLog();
      const setup = createDeviceSetup(options.ramBytes, options.devices);
      const devices = PcDevices.attach(setup, {
        ...UNCONNECTED,
        setIrq: (gsi, level) => vm.irqLine(gsi, level),
        wallClockMs: () => Date.now(),
        serialActivity: () => listener.serialActivity(),
      });
      const traits: VcpuTraits = {
        sregs2: vm.capability('KVM_CAP_SREGS2') > 0,
        xsaveBytes: vm.capability('KVM_CAP_XSAVE2'),
        msrIndexes: kvm.msrIndexList(),
        getTscKhz: vm.capability('KVM_CAP_GET_TSC_KHZ') > 0,
        setTscKhz: vm.capability('KVM_CAP_TSC_CONTROL') > 0,
      };
      const tscDeadline = kvm.capability('KVM_CAP_TSC_DEADLINE_TIMER') > 0;
      const { leaves, missing } = resolveCpu(options.cpu, offeredCpuid(kvm.supportedCpuid(), tscDeadline));
      for (const feature of options.cpu.check || options.cpu.enforce ? missing : []) {
        listener.warn(`host doesn't support requested feature: ${feature}`);
      }
      if (options.cpu.enforce && missing.length > 0) throw new Error("Host doesn't support requested features");
      const mmapSize = kvm.vcpuMmapSize();
      let machine: Machine | undefined;
      const start = (id: number) => {
        const data: VcpuThreadData = {
          id,
          vmFd: vm.fd,
          vcpuFd: vm.createVcpu(id),
          mmapSize,
          traits,
          cpuid: vcpuCpuid(leaves, id, options.vcpus),
          words: createVcpuWords(),
          ram: ram.handle,
          devices: setup,
        };
        return VcpuThread.start(data, {
          guestStop: (vcpu, stop) => listener.guestStop(vcpu, stop),
          activity: (of) => machine?.activity(of),
          crashed: (vcpu, error) => listener.vcpuCrashed(vcpu, error),
        });
      };
      const started = await Promise.allSettled(Array.from({ length: options.vcpus }, (_, id) => start(id)));
      const vcpus = started.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
      const failed = started.find((s) => s.status === 'rejected');
      if (failed) {
        await Promise.all(vcpus.map((vcpu) => vcpu.end()));
        throw failed.reason;
      }
      const parts = { options, ram, rom, vm, devices, vcpus, dirtyLogInitiallySet: initiallySet };
      machine = new Machine(parts, listener);
      return machine;
    } catch (error) {
      for (const resource of acquired.reverse()) resource[Symbol.dispose]();
      throw error;
    }
  }

  /** Sets all vCPUs going. `resumed`: the guest ran before and was stopped. Its clock goes on from where it stood. */
  async run(resumed: boolean): Promise<void> {
    if (this.#pausedClock !== undefined) {
      this.vm.setClock(this.#pausedClock);
      this.#pausedClock = undefined;
    }
    this.#running = true;
    this.#watchdog?.start();
    await this.#all({ type: 'run', resumed });
  }

  /** Parks all vCPUs; resolves when none of them runs guest code and no interrupt or I/O of theirs is under way. */
  async park(): Promise<void> {
    this.#running = false;
    this.#watchdog?.stop();
    await this.#all({ type: 'park' });
    this.#pausedClock ??= this.vm.getClock();
  }

  /** Back to power-on state; the first vCPU then enters at `entry`, or the firmware. All vCPUs must be parked. */
  async reset(entry: EntryRegisters | undefined): Promise<void> {
    this.devices.reset();
    if (!entry) shadowFirmware(this.options.firmware, this.ram);
    await Promise.all(
      this.vcpus.map((vcpu, i) => vcpu.request({ type: 'reset', ...(i === 0 && entry ? { entry } : {}) })),
    );
    this.#pausedClock = undefined;
  }

  /** Reads all state but RAM, section by section. All vCPUs must be parked. */
  async *saveState(): AsyncGenerator<SavedSection> {
    const vmState = this.vm.saveState();
    if (this.#pausedClock !== undefined) vmState.clock = this.#pausedClock;
    yield { name: 'vm', json: JSON.stringify(vmStateToJson(vmState)) };
    yield { name: 'devices', json: JSON.stringify(this.devices.save()) };
    const states = this.vcpus.map((vcpu) => vcpu.request({ type: 'save' }));
    for (const [i, state] of states.entries()) yield { name: `vcpu-${i}`, json: await state };
  }

  /**
   * Loads what `saveState` gave: every section exactly once. All vCPUs must be parked.
   * @throws LayoutError and others naming the section and member at fault; the machine is then unfit to run
   */
  async loadState(sections: readonly ArrivedSection[]): Promise<void> {
    const expected = ['vm', 'devices', ...this.vcpus.map((_, i) => `vcpu-${i}`)];
    const arrived = new Map(sections.map((section) => [section.name, section.data]));
    if (arrived.size !== sections.length) throw new Error('a section of the machine state came twice');
    for (const name of arrived.keys()) {
      if (!expected.includes(name))
        throw new Error(`the machine state has a section '${name}' that this machine lacks`);
    }
    const section = (name: string): Record<string, unknown> => {
      const data = arrived.get(name);
      if (data === undefined) throw new Error(`the machine state lacks its section '${name}'`);
      return data;
    };
    const vmState = vmStateFromJson(section('vm'), 'vm');
    this.vm.loadState(vmState);
    await Promise.all(this.vcpus.map((vcpu, i) => vcpu.request({ type: 'load', state: section(`vcpu-${i}`) })));
    // Interrupt lines are derived from the devices' state: after the chips.
    this.devices.load(section('devices'));
    this.devices.reassertIrqs();
    this.#pausedClock = vmState.clock;
  }

  /**
   * Saves and loads the state of a machine that never ran, so that when a migrated one arrives, with its guest waiting, every path through the
   * code has been compiled and taken once. All vCPUs must be parked.
   */
  async rehearse(): Promise<void> {
    const sections: ArrivedSection[] = [];
    for await (const { name, json } of this.saveState()) sections.push({ name, data: JSON.parse(json) });
    await this.loadState(sections);
  }

  /** Ends the threads, then gives back RAM and fds. Safe to call twice. */
  dispose(): Promise<void> {
    this.#disposed ??= (async () => {
      this.throttle[Symbol.dispose]();
      this.#watchdog?.[Symbol.dispose]();
      await Promise.all(this.vcpus.map((vcpu) => vcpu.end()));
      this.vm[Symbol.dispose]();
      this.ram[Symbol.dispose]();
      this.rom[Symbol.dispose]();
    })();
    return this.#disposed;
  }

  /** Every vCPU gets a non-maskable interrupt. */
  async injectNmi(): Promise<void> {
    await this.#all({ type: 'nmi' });
  }

  /** What a guest that was suspended to its memory wakes up to: reset, but for its memory. All vCPUs must be parked. */
  async wake(): Promise<void> {
    await this.reset(undefined);
    this.devices.acpiPm.wake();
  }

  /** A user presses the power button. */
  pressPowerButton(): void {
    this.devices.acpiPm.pressPowerButton();
  }

  /** A vCPU thread reports what a device did. */
  activity(of: DeviceActivity): void {
    if (of === 'serial') {
      this.#listener.serialActivity();
    } else if (of === 'rtc') {
      const offset = this.devices.cmos.takeChange();
      if (offset !== undefined) this.#listener.rtcChanged(offset);
    } else if (this.#running) {
      this.#watchdog?.start();
    }
  }

  async #all(request: VcpuRequest): Promise<void> {
    await Promise.all(this.vcpus.map((vcpu) => vcpu.request(request)));
  }
}
