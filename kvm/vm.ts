/** One VM fd: memory slots, interrupt chips, timers, clock and the dirty log. */
import {
  CAP,
  type CapName,
  IOCTL,
  IRQCHIP,
  KVM_DIRTY_LOG_INITIALLY_SET,
  KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  KVM_PIT_SPEAKER_DUMMY,
} from './abi.js';
import { check } from './errors.js';
import { type GuestRam, HOLE_END } from './guest_ram.js';
import * as libc from './libc_unsafe.js';
import { closeFd, type Mapping } from './memory.js';
import {
  type KvmIoapicState,
  type KvmPicState,
  type KvmPitState2,
  kvmIoapicState,
  kvmPicState,
  kvmPitState2,
} from './structs.js';

/** State of the VM outside its vCPUs and devices. */
export interface VmState {
  pic_master: KvmPicState;
  pic_slave: KvmPicState;
  ioapic: KvmIoapicState;
  pit2: KvmPitState2;
  /** Nanoseconds of the guest's paravirtual clock. */
  clock: bigint;
}

/**
 * Four pages that KVM on some hosts needs for itself: one for the identity map, three for the TSS. Below the BIOS area at 4 GiB, as QEMU places them; a
 * guest's memory map must keep them reserved.
 */
export const KVM_PRIVATE_START = 0xfeffc000;
export const KVM_PRIVATE_BYTES = 0x4000;
const IDENTITY_MAP_ADDR = KVM_PRIVATE_START;
const TSS_ADDR = KVM_PRIVATE_START + 0x1000;

const KVM_IRQFD_FLAG_DEASSIGN = 1;
const KVM_IOEVENTFD_FLAG_DATAMATCH = 1;
const KVM_IOEVENTFD_FLAG_PIO = 2;
const KVM_IOEVENTFD_FLAG_DEASSIGN = 4;

/** The slot after those of RAM. */
const ROM_SLOT = 2;

/** An address on which the guest's writes become counts of an eventfd. */
export interface IoEvent {
  readonly space: 'pio' | 'mmio';
  readonly address: number;
  /** 0 (any length), 1, 2, 4 or 8 bytes. */
  readonly length: number;
  /** Only writes of this value, where given. */
  readonly match?: bigint;
  readonly eventfd: number;
}

/** A VM file descriptor; the object that made it closes it. Any thread may make its own `Vm` over the same fd with `attach`. */
export class Vm implements Disposable {
  readonly fd: number;
  readonly #owned: boolean;
  #irqLine = new DataView(new ArrayBuffer(8));
  #disposed = false;

  constructor(fd: number, owned = true) {
    this.fd = fd;
    this.#owned = owned;
  }

  static attach(fd: number): Vm {
    return new Vm(fd, false);
  }

  capability(name: CapName): number {
    return check('KVM_CHECK_EXTENSION', libc.ioctl(this.fd, IOCTL.KVM_CHECK_EXTENSION, CAP[name]));
  }

  enableCapability(name: CapName, ...args: number[]): void {
    const view = new DataView(new ArrayBuffer(104));
    view.setUint32(0, CAP[name], true);
    args.forEach((arg, i) => {
      view.setBigUint64(8 + 8 * i, BigInt(arg), true);
    });
    check('KVM_ENABLE_CAP', libc.ioctlBytes(this.fd, IOCTL.KVM_ENABLE_CAP, view), name);
  }

  /** The PC's chips: two PICs, an IOAPIC, a PIT; and the pages that KVM needs on some hosts to run real mode. */
  createChips(): void {
    const identity = new DataView(new ArrayBuffer(8));
    identity.setBigUint64(0, BigInt(IDENTITY_MAP_ADDR), true);
    check('KVM_SET_IDENTITY_MAP_ADDR', libc.ioctlBytes(this.fd, IOCTL.KVM_SET_IDENTITY_MAP_ADDR, identity));
    check('KVM_SET_TSS_ADDR', libc.ioctl(this.fd, IOCTL.KVM_SET_TSS_ADDR, TSS_ADDR));
    check('KVM_CREATE_IRQCHIP', libc.ioctl(this.fd, IOCTL.KVM_CREATE_IRQCHIP));
    const pit = new DataView(new ArrayBuffer(64));
    pit.setUint32(0, KVM_PIT_SPEAKER_DUMMY, true);
    check('KVM_CREATE_PIT2', libc.ioctlBytes(this.fd, IOCTL.KVM_CREATE_PIT2, pit));
  }

  createVcpu(id: number): number {
    return check('KVM_CREATE_VCPU', libc.ioctl(this.fd, IOCTL.KVM_CREATE_VCPU, id), `vCPU ${id}`);
  }

  /** Gives the guest all of `ram`; `logDirty` switches KVM's dirty log for it on or off. */
  setRam(ram: GuestRam, logDirty = false): void {
    for (const { slot, gpa, byteLength, offset } of ram.slots) {
      this.#setSlot(slot, logDirty ? KVM_MEM_LOG_DIRTY_PAGES : 0, gpa, byteLength, ram.address + offset);
    }
  }

  /** Gives the guest memory that it can read and run, and whose writes exit as MMIO. It ends at 4 GiB and stays mapped while the VM is there. */
  setRom(rom: Mapping): void {
    this.#setSlot(ROM_SLOT, KVM_MEM_READONLY, HOLE_END - rom.byteLength, rom.byteLength, rom.address);
  }

  #setSlot(slot: number, flags: number, gpa: number, byteLength: number, address: number): void {
    const view = new DataView(new ArrayBuffer(32));
    view.setUint32(0, slot, true);
    view.setUint32(4, flags, true);
    view.setBigUint64(8, BigInt(gpa), true);
    view.setBigUint64(16, BigInt(byteLength), true);
    view.setBigUint64(24, BigInt(address), true);
    const what = `slot ${slot}, ${byteLength} bytes at 0x${gpa.toString(16)}`;
    check('KVM_SET_USER_MEMORY_REGION', libc.ioctlBytes(this.fd, IOCTL.KVM_SET_USER_MEMORY_REGION, view), what);
  }

  /** Sets an interrupt line; synchronous, so that no interrupt is under way when a pause has been acknowledged. */
  irqLine(gsi: number, level: 0 | 1): void {
    this.#irqLine.setUint32(0, gsi, true);
    this.#irqLine.setUint32(4, level, true);
    check('KVM_IRQ_LINE', libc.ioctlBytes(this.fd, IOCTL.KVM_IRQ_LINE, this.#irqLine), `GSI ${gsi}`);
  }

  /** Binds (or unbinds) an eventfd to an interrupt line: each count written raises an edge. */
  irqfd(eventfd: number, gsi: number, assign = true): void {
    const view = new DataView(new ArrayBuffer(32));
    view.setUint32(0, eventfd, true);
    view.setUint32(4, gsi, true);
    view.setUint32(8, assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN, true);
    check('KVM_IRQFD', libc.ioctlBytes(this.fd, IOCTL.KVM_IRQFD, view), `GSI ${gsi}`);
  }

  /** Binds (or unbinds) guest writes at an address to an eventfd, without an exit to user space. */
  ioeventfd(event: IoEvent, assign = true): void {
    const view = new DataView(new ArrayBuffer(64));
    view.setBigUint64(0, event.match ?? 0n, true);
    view.setBigUint64(8, BigInt(event.address), true);
    view.setUint32(16, event.length, true);
    view.setInt32(20, event.eventfd, true);
    const flags =
      (event.match === undefined ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH) |
      (event.space === 'pio' ? KVM_IOEVENTFD_FLAG_PIO : 0) |
      (assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN);
    view.setUint32(24, flags, true);
    check('KVM_IOEVENTFD', libc.ioctlBytes(this.fd, IOCTL.KVM_IOEVENTFD, view), `0x${event.address.toString(16)}`);
  }

  /**
   * Chooses manual protection: reading the log changes nothing, clearing write-protects. Must precede the first
   * `startDirtyLog`.
   * @returns whether a log starts with every page set (the kernel then skips protecting all of memory at once)
   */
  useManualDirtyLog(): { initiallySet: boolean } {
    const offered = this.capability('KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2');
    const wanted = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
    const flags = offered & wanted;
    this.enableCapability('KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2', flags);
    return { initiallySet: (flags & KVM_DIRTY_LOG_INITIALLY_SET) !== 0 };
  }

  /** A new fd of the VM's statistics (stats.ts); the caller closes it. */
  statsFd(): number {
    return check('KVM_GET_STATS_FD', libc.ioctl(this.fd, IOCTL.KVM_GET_STATS_FD));
  }

  /** Copies the log of one slot to `bitmapAddress` (64 pages a word, the slot's size rounded up). */
  getDirtyLog(slot: number, bitmapAddress: number): void {
    const view = new DataView(new ArrayBuffer(16));
    view.setUint32(0, slot, true);
    view.setBigUint64(8, BigInt(bitmapAddress), true);
    check('KVM_GET_DIRTY_LOG', libc.ioctlBytes(this.fd, IOCTL.KVM_GET_DIRTY_LOG, view), `slot ${slot}`);
  }

  /**
   * Clears, and write-protects again, the pages of a slot whose bits are set.
   * @param firstPage multiple of 64
   * @param pages multiple of 64, or up to the slot's end
   * @param bitmapAddress bit 0 is `firstPage`
   */
  clearDirtyLog(slot: number, firstPage: number, pages: number, bitmapAddress: number): void {
    const view = new DataView(new ArrayBuffer(24));
    view.setUint32(0, slot, true);
    view.setUint32(4, pages, true);
    view.setBigUint64(8, BigInt(firstPage), true);
    view.setBigUint64(16, BigInt(bitmapAddress), true);
    check('KVM_CLEAR_DIRTY_LOG', libc.ioctlBytes(this.fd, IOCTL.KVM_CLEAR_DIRTY_LOG, view), `slot ${slot}`);
  }

  /** Reads everything but vCPUs and devices. All vCPUs must be parked. */
  saveState(): VmState {
    return {
      pic_master: kvmPicState.decode(this.#getIrqchip(IRQCHIP.PIC_MASTER), 8),
      pic_slave: kvmPicState.decode(this.#getIrqchip(IRQCHIP.PIC_SLAVE), 8),
      ioapic: kvmIoapicState.decode(this.#getIrqchip(IRQCHIP.IOAPIC), 8),
      pit2: this.#getPit2(),
      clock: this.getClock(),
    };
  }

  /** Loads what `saveState` gave. All vCPUs must be parked. */
  loadState(state: VmState): void {
    this.#setIrqchip(IRQCHIP.PIC_MASTER, (view) => kvmPicState.encode(state.pic_master, view, 8));
    this.#setIrqchip(IRQCHIP.PIC_SLAVE, (view) => kvmPicState.encode(state.pic_slave, view, 8));
    this.#setIrqchip(IRQCHIP.IOAPIC, (view) => kvmIoapicState.encode(state.ioapic, view, 8));
    const pit = new DataView(new ArrayBuffer(kvmPitState2.size));
    kvmPitState2.encode(state.pit2, pit);
    check('KVM_SET_PIT2', libc.ioctlBytes(this.fd, IOCTL.KVM_SET_PIT2, pit));
    this.setClock(state.clock);
  }

  #getPit2(): KvmPitState2 {
    const view = new DataView(new ArrayBuffer(kvmPitState2.size));
    check('KVM_GET_PIT2', libc.ioctlBytes(this.fd, IOCTL.KVM_GET_PIT2, view));
    return kvmPitState2.decode(view);
  }

  #getIrqchip(chip: number): DataView {
    const view = new DataView(new ArrayBuffer(520));
    view.setUint32(0, chip, true);
    check('KVM_GET_IRQCHIP', libc.ioctlBytes(this.fd, IOCTL.KVM_GET_IRQCHIP, view), `chip ${chip}`);
    return view;
  }

  #setIrqchip(chip: number, fill: (view: DataView) => void): void {
    const view = new DataView(new ArrayBuffer(520));
    view.setUint32(0, chip, true);
    fill(view);
    check('KVM_SET_IRQCHIP', libc.ioctlBytes(this.fd, IOCTL.KVM_SET_IRQCHIP, view), `chip ${chip}`);
  }

  /** Nanoseconds of the guest's paravirtual clock now. */
  getClock(): bigint {
    const view = new DataView(new ArrayBuffer(48));
    check('KVM_GET_CLOCK', libc.ioctlBytes(this.fd, IOCTL.KVM_GET_CLOCK, view));
    return view.getBigUint64(0, true);
  }

  /** Sets the guest's paravirtual clock, so that time stands still while a VM is stopped. */
  setClock(ns: bigint): void {
    const view = new DataView(new ArrayBuffer(48));
    view.setBigUint64(0, ns, true);
    check('KVM_SET_CLOCK', libc.ioctlBytes(this.fd, IOCTL.KVM_SET_CLOCK, view));
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#owned) closeFd(this.fd);
  }
}
