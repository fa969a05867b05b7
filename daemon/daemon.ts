/** One daemon: a machine, its console, its QMP server and its migrations, put together and taken apart. */
import { writeFileSync } from 'node:fs';
import { loadKernel } from './boot/load_kernel.js';
import type { Chardev } from './chardev/chardev.js';
import { Chardevs } from './chardev/chardevs.js';
import type { OpenMonitorSession } from './chardev/monitor_session.js';
import { SerialConsole } from './chardev/serial_console.js';
import { NO_CHARDEV, StreamChardev } from './chardev/stream_chardev.js';
import { type DaemonOptions, ZERO_UUID } from './cli/daemon_options.js';
import { findDevice } from './cli/device_options.js';
import { commandHandlers } from './commands/handlers.js';
import { monitorCommands } from './commands/monitor.js';
import type { DeviceOptions } from './devices/pc_devices.js';
import { FdSets } from './fds/fd_sets.js';
import { type Emit, Lifecycle } from './lifecycle/lifecycle.js';
import type { DaemonLog } from './log.js';
import { idleFirmware, readFirmware } from './machine/firmware.js';
import { Machine, type MachineListener } from './machine/machine.js';
import { NO_MACHINE } from './machine/no_machine.js';
import { rtcQomPath } from './machine/qom_paths.js';
import { Inspection } from './memory/inspection.js';
import { Migrations } from './migration/migrations.js';
import { HumanMonitor } from './monitor/human_monitor.js';
import { MonitorSessions } from './monitor/session.js';
import { Pidfile } from './pidfile.js';
import { QmpServer } from './qmp/server.js';
import { type Say, sayer } from './say.js';
import type { EntryRegisters, GuestStop } from './vcpu/messages.js';
import { versionInfo } from './version.js';

/** How long the last output of the guest may take to reach a slow reader. */
const CONSOLE_FLUSH_MS = 1000;

export class Daemon {
  /** Resolves with the exit code when something decided that the daemon ends. */
  readonly exit: Promise<number>;
  readonly #log: DaemonLog;
  readonly #options: DaemonOptions;
  readonly #say: Say;
  readonly #chardevs: Chardevs;
  readonly #guest: Guest | undefined;
  readonly #lifecycle: Lifecycle;
  readonly #server: QmpServer;
  readonly #migrations: Migrations;
  readonly #inspection: Inspection;
  readonly #monitor: HumanMonitor;
  readonly #humanMonitors: MonitorSessions[] = [];
  #pidfile: Pidfile | undefined;

  private constructor(parts: {
    exit: Promise<number>;
    log: DaemonLog;
    options: DaemonOptions;
    say: Say;
    chardevs: Chardevs;
    guest: Guest | undefined;
    lifecycle: Lifecycle;
    server: QmpServer;
    migrations: Migrations;
    inspection: Inspection;
    monitor: HumanMonitor;
  }) {
    this.exit = parts.exit;
    this.#log = parts.log;
    this.#options = parts.options;
    this.#say = parts.say;
    this.#chardevs = parts.chardevs;
    this.#guest = parts.guest;
    this.#lifecycle = parts.lifecycle;
    this.#server = parts.server;
    this.#migrations = parts.migrations;
    this.#inspection = parts.inspection;
    this.#monitor = parts.monitor;
  }

  /**
   * Makes the machine, listens, and starts the guest or waits for one. Clients are served once that is done.
   * @param interrupted resolves when the daemon is not to wait for a first client any longer
   * @throws Error with one sentence: what is missing, refused or in use
   */
  static async start(options: DaemonOptions, log: DaemonLog, interrupted: Promise<unknown>): Promise<Daemon> {
    let end: (code: number) => void = () => undefined;
    const exit = new Promise<number>((resolve) => {
      end = resolve;
    });
    const say = sayer(options);
    const chardevs = await Chardevs.open(options.chardevs, log);
    let server: QmpServer | undefined;
    const emit: Emit = (event, ...data) => server?.emit(event, ...(data as never));
    // The guest reports to parts that are made after it; nothing runs before they are there.
    const parts: { lifecycle?: Lifecycle } = {};
    const listener: Omit<MachineListener, 'serialActivity'> = {
      guestStop: (vcpu: number, stop: GuestStop) => parts.lifecycle?.guestStop(vcpu, stop),
      rtcChanged: (offset) => emit('RTC_CHANGE', { offset, 'qom-path': rtcQomPath(options.vcpus) }),
      watchdogExpired: () => parts.lifecycle?.watchdogExpired(),
      warn: (sentence: string) => say(`warning: ${sentence}`),
      vcpuCrashed: (vcpu: number, error: Error) => {
        log.fatal({ vcpu, err: error }, `the thread of vCPU ${vcpu} crashed: ${error.message}`);
        end(1);
      },
    };
    const guest =
      options.machine.type === 'none'
        ? undefined
        : await createGuest(options, log, chardevs, listener).catch((error) => {
            chardevs.close();
            throw error;
          });
    try {
      const lifecycle = new Lifecycle(guest?.machine ?? NO_MACHINE, {
        ...(options.kernel === undefined || guest === undefined
          ? {}
          : { loadKernel: () => bootRegisters(options, options.kernel as string, guest.machine) }),
        actions: options.actions,
        say,
        log,
        emit,
        exit: end,
      });
      parts.lifecycle = lifecycle;
      const machine = guest?.machine;
      const migrating = () => migrations.active;
      const inspection = new Inspection({ machine, lifecycle, log, emit, migrating });
      const migrations: Migrations = new Migrations({
        guest,
        blockedReasons: () => inspection.migrationBlockers,
        releaseDirtyLog: () => inspection.dirtyRate.releaseLog(),
        lifecycle,
        log,
        emit,
        uuid: options.uuid === ZERO_UUID ? undefined : options.uuid,
        incoming: options.incoming !== undefined,
        onOutgoingFailed: say,
        onIncomingFailed: (cause) => {
          say(cause);
          end(1);
        },
      });
      const fdSets = new FdSets();
      const targets = { options, machine, lifecycle, migrations, inspection, fdSets, chardevs, quit: () => end(0) };
      const handlers = commandHandlers(targets);
      const monitor = new HumanMonitor({ memory: inspection.memory, machine, handlers });
      server = new QmpServer({
        handlers: { ...handlers, ...monitorCommands(monitor) },
        version: versionInfo,
        held: true,
        // monitor/fds.c: what nobody asked for in time is nobody's.
        lastClientGone: () => {
          if (lifecycle.running) fdSets.clear();
        },
        log,
      });
      const daemon = new Daemon({
        exit,
        log,
        options,
        say,
        chardevs,
        guest,
        lifecycle,
        server,
        migrations,
        inspection,
        monitor,
      });
      try {
        await daemon.#open(interrupted);
      } catch (error) {
        await daemon.close();
        throw error;
      }
      return daemon;
    } catch (error) {
      // Both are safe to call twice: a daemon that got as far as opening has closed all that was its.
      chardevs.close();
      await server?.close();
      await guest?.machine.dispose();
      throw error;
    }
  }

  /** Opens to the outside, and lets the guest go. */
  async #open(interrupted: Promise<unknown>): Promise<void> {
    const { incoming, paused, pidfile, monitors } = this.#options;
    if (incoming !== undefined) this.#lifecycle.awaitMigration(paused);
    for (const { chardev, mode, pretty } of monitors) {
      const serve = mode === 'control' ? this.#server.monitor({ pretty }) : this.#humanMonitor();
      this.#chardevs.get(chardev).use(serve);
    }
    if (pidfile !== undefined) this.#pidfile = Pidfile.create(pidfile);
    await Promise.race([this.#chardevs.waited(this.#say), interrupted]);
    if (incoming === undefined) await this.#lifecycle.start(paused);
    else if (incoming !== 'defer') await this.#migrations.receive(incoming);
    this.#server.serve();
  }

  /** A human monitor: what serves its clients. */
  #humanMonitor(): OpenMonitorSession {
    const sessions = new MonitorSessions(this.#monitor, this.#log);
    this.#humanMonitors.push(sessions);
    return sessions.open;
  }

  /** A signal asks the daemon to end. */
  signalled(signal: string): void {
    this.#log.info({ signal }, 'the daemon was asked to end by a signal');
    this.#lifecycle.announceShutdown({ guest: false, reason: 'host-signal' });
  }

  /** Takes everything apart: replies go out first, then migrations end, then the guest. */
  async close(): Promise<void> {
    await this.#server.drain();
    await this.#inspection.close();
    await this.#migrations.close();
    await this.#lifecycle.close();
    this.#chardevs.close();
    await Promise.all([this.#server.close(), ...this.#humanMonitors.map((sessions) => sessions.close())]);
    if (this.#guest) await closeGuest(this.#guest);
    this.#pidfile?.[Symbol.dispose]();
  }
}

/** A machine and where its serial port's bytes go. */
interface Guest {
  readonly machine: Machine;
  readonly console: SerialConsole;
}

async function createGuest(
  options: DaemonOptions,
  log: DaemonLog,
  chardevs: Chardevs,
  listener: Omit<MachineListener, 'serialActivity'>,
): Promise<Guest> {
  let console: SerialConsole | undefined;
  const machine = await Machine.create(
    {
      ramBytes: options.ramBytes,
      vcpus: options.vcpus,
      cpu: options.cpu,
      devices: machineDevices(options),
      firmware: options.bios === undefined ? idleFirmware() : readFirmware(options.bios),
    },
    { ...listener, serialActivity: () => console?.activity() },
  );
  if (options.debugThreads) nameThreads(machine);
  const chardev: Chardev = options.serial === undefined ? NO_CHARDEV : new StreamChardev(chardevs.get(options.serial));
  console = new SerialConsole(machine.devices.serial, chardev, (error) => {
    log.warn({ err: error }, `output of the serial port was lost: ${error.message}`);
  });
  return { machine, console };
}

/** Gives the threads of vCPUs the names that QEMU's have (proc_pid_comm(5)). */
function nameThreads({ vcpus }: Machine): void {
  for (const { id, threadId } of vcpus) writeFileSync(`/proc/self/task/${threadId}/comm`, `CPU ${id}/KVM`);
}

async function closeGuest({ machine, console }: Guest): Promise<void> {
  const flushed = new Promise<void>((resolve) => setTimeout(resolve, CONSOLE_FLUSH_MS).unref());
  await Promise.race([console.close(), flushed]);
  await machine.dispose();
}

function machineDevices({ devices }: DaemonOptions): DeviceOptions {
  return {
    debugExit: findDevice(devices, 'isa-debug-exit'),
    pvpanic: findDevice(devices, 'pvpanic'),
    ib700: findDevice(devices, 'ib700') !== undefined,
  };
}

function bootRegisters(options: DaemonOptions, kernelPath: string, machine: Machine): EntryRegisters {
  const { regs, sregs } = loadKernel({
    kernelPath,
    initrdPath: options.initrd,
    cmdline: options.append,
    memory: machine.ram,
  });
  return { regs, sregs };
}
