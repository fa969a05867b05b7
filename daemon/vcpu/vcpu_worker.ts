/**
 * The thread of one vCPU: it runs the guest, serves its exits, and does what main asks.
 *
 * It never returns to its event loop: requests are read from the port by hand, between two entries into the guest or when woken
 * from `Atomics.wait`. Only this thread clears `immediate_exit`, and it looks at WAKE again after clearing, so no kick is lost.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EXIT, KVM_EXIT_IO_OUT, RUN, SYSTEM_EVENT } from '../../kvm/abi.js';
import { errnoName } from '../../kvm/errors.js';
import * as libc from '../../kvm/libc_unsafe.js';
import { vcpuStateFromJson, vcpuStateToJson } from '../../kvm/state_json.js';
import { Vcpu, type VcpuState } from '../../kvm/vcpu.js';
import { Vm } from '../../kvm/vm.js';
import type { DeviceHost } from '../devices/device.js';
import { PcDevices } from '../devices/pc_devices.js';
import { describeExit } from './exits.js';
import type { EntryRegisters, GuestStop, VcpuMessage, VcpuRequest, VcpuThreadData } from './messages.js';
import { VCPU_STATE, WORD } from './words.js';

const EINTR = 4;
const EAGAIN = 11;
const data = workerData as VcpuThreadData & { port: MessagePort };
const words = new Int32Array(data.words);
const { port } = data;
const vm = Vm.attach(data.vmFd);
const vcpu = new Vcpu(data.vcpuFd, data.id, data.mmapSize, data.traits);
const { run, runBytes } = vcpu;

let running = false;
let ended = false;
/** An exit whose I/O the kernel finishes only on the next entry. */
let completionDue = false;
let guestStop: GuestStop | undefined;

const post = (message: VcpuMessage): void => port.postMessage(message);

const host: DeviceHost = {
  setIrq: (gsi, level) => vm.irqLine(gsi, level),
  requestReset: (by) => {
    guestStop ??= { cause: 'reset', by };
  },
  requestSleep: (state) => {
    guestStop ??= { cause: 'sleep', state };
  },
  guestPanicked: (cause) => {
    guestStop ??= { cause };
  },
  debugExit: (code) => {
    guestStop ??= { cause: 'debug-exit', code };
  },
  wallClockMs: () => Date.now(),
  guestClockNs: () => vm.getClock(),
  watchdogChanged: () => post({ type: 'activity', of: 'watchdog' }),
  rtcChanged: () => post({ type: 'activity', of: 'rtc' }),
  serialActivity: () => post({ type: 'activity', of: 'serial' }),
};
const { bus } = PcDevices.attach(data.devices, host);

vcpu.setCpuid(data.cpuid);
const powerOn: VcpuState = vcpu.saveState();

/** One entry into the guest and, if it exits to user space, the serving of that exit. */
function enterGuest(): void {
  const rc = vcpu.enter();
  completionDue = false;
  if (rc === -EINTR || rc === -EAGAIN) return;
  if (rc < 0) {
    guestStop = { cause: 'internal-error', details: `KVM_RUN failed: ${errnoName(-rc)} on vCPU ${data.id}` };
    return;
  }
  Atomics.add(words, WORD.EXITS, 1);
  switch (run.getUint32(RUN.exit_reason, true)) {
    case EXIT.IO:
      servePortIo();
      completionDue = true;
      return;
    case EXIT.MMIO:
      serveMmio();
      completionDue = true;
      return;
    case EXIT.INTR:
    case EXIT.IRQ_WINDOW_OPEN:
      return;
    case EXIT.HLT:
      // With the in-kernel APIC a halted vCPU waits inside KVM_RUN; should one come out, it waits here for a kick.
      Atomics.wait(words, WORD.WAKE, Atomics.load(words, WORD.WAKE), 10);
      return;
    case EXIT.SHUTDOWN:
      guestStop = { cause: 'reset', by: 'triple fault' };
      return;
    case EXIT.SYSTEM_EVENT:
      switch (run.getUint32(RUN.system_event_type, true)) {
        case SYSTEM_EVENT.SHUTDOWN:
          guestStop = { cause: 'shutdown', by: 'KVM_SYSTEM_EVENT_SHUTDOWN' };
          return;
        case SYSTEM_EVENT.RESET:
          guestStop = { cause: 'reset', by: 'KVM_SYSTEM_EVENT_RESET' };
          return;
      }
      break;
  }
  guestStop = { cause: 'internal-error', details: `vCPU ${data.id}: ${describeExit(run, vcpu.getRegs())}` };
}

function servePortIo(): void {
  const size = run.getUint8(RUN.io_size);
  const count = run.getUint32(RUN.io_count, true);
  const offset = Number(run.getBigUint64(RUN.io_data_offset, true));
  const portNumber = run.getUint16(RUN.io_port, true);
  if (run.getUint8(RUN.io_direction) === KVM_EXIT_IO_OUT) bus.pioOut(portNumber, size, count, run, offset);
  else bus.pioIn(portNumber, size, count, run, offset);
}

function serveMmio(): void {
  const address = Number(run.getBigUint64(RUN.mmio_phys_addr, true));
  const length = Math.min(run.getUint32(RUN.mmio_len, true), 8);
  if (run.getUint8(RUN.mmio_is_write) !== 0) bus.mmioWrite(address, length, run, RUN.mmio_data);
  else bus.mmioRead(address, length, run, RUN.mmio_data);
}

/** Lets the kernel finish the I/O of the last exit, without running the guest, so that the state is whole. */
function completeIo(): void {
  while (completionDue && guestStop?.cause !== 'internal-error') {
    runBytes[RUN.immediate_exit] = 1;
    enterGuest();
  }
}

/** Parks, and reports what the guest did to itself, if anything: before the answer to whoever asked to park. */
function park(): void {
  if (!running) return;
  completeIo();
  running = false;
  Atomics.store(words, WORD.STATE, VCPU_STATE.PARKED);
  if (guestStop) post({ type: 'guest-stop', stop: guestStop });
  guestStop = undefined;
}

function applyEntry(entry: EntryRegisters): void {
  const sregs = vcpu.getSregs() as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(entry.sregs)) {
    const current = sregs[name];
    sregs[name] = typeof current === 'object' && !Array.isArray(current) ? { ...current, ...(value as object) } : value;
  }
  vcpu.setSregs(sregs as never);
  vcpu.setRegs({ ...vcpu.getRegs(), ...entry.regs });
}

function mustBeParked(what: string): void {
  if (running) throw new Error(`vCPU ${data.id} cannot ${what} while it runs`);
}

function serve(request: VcpuRequest): unknown {
  switch (request.type) {
    case 'run':
      if (request.resumed) vcpu.kvmclockCtrl();
      running = true;
      Atomics.store(words, WORD.STATE, VCPU_STATE.RUNNING);
      return undefined;
    case 'park':
      park();
      return undefined;
    case 'nmi':
      vcpu.nmi();
      return undefined;
    case 'save':
      mustBeParked('be saved');
      return JSON.stringify(vcpuStateToJson(vcpu.saveState()));
    case 'load':
      mustBeParked('be loaded');
      vcpu.loadState(vcpuStateFromJson(request.state, `vcpu-${data.id}`));
      return undefined;
    case 'reset':
      mustBeParked('be reset');
      vcpu.loadState(powerOn);
      if (request.entry) applyEntry(request.entry);
      return undefined;
    case 'registers':
      return vcpu.getRegisters();
    case 'translate':
      return vcpu.translate(request.addresses);
    case 'stats-fd':
      return vcpu.statsFd();
    case 'quit':
      park();
      ended = true;
      return undefined;
  }
}

function serveRequests(): void {
  for (;;) {
    const received = receiveMessageOnPort(port) as { message: { request: number; body: VcpuRequest } } | undefined;
    if (!received) return;
    const { request, body } = received.message;
    try {
      const value = serve(body);
      post({ type: 'answer', request, value });
    } catch (error) {
      post({ type: 'answer', request, error: (error as Error).message });
    }
  }
}

Atomics.store(words, WORD.STATE, VCPU_STATE.PARKED);
post({ type: 'ready', threadId: libc.gettid() });
let seen = 0;
while (!ended) {
  if (running) {
    runBytes[RUN.immediate_exit] = 0;
    Atomics.store(words, WORD.FENCE, 0);
  } else {
    Atomics.wait(words, WORD.WAKE, seen);
  }
  const wake = Atomics.load(words, WORD.WAKE);
  if (wake !== seen) {
    seen = wake;
    serveRequests();
    continue;
  }
  if (!running) continue;
  const sleepUs = Atomics.exchange(words, WORD.SLEEP_US, 0);
  if (sleepUs > 0) {
    Atomics.wait(words, WORD.WAKE, seen, sleepUs / 1000);
    continue;
  }
  enterGuest();
  if (guestStop) park();
}
Atomics.store(words, WORD.STATE, VCPU_STATE.ENDED);
vcpu[Symbol.dispose]();
port.close();
