/** What a debugger reads of a guest while it runs or stands still: memory by both kinds of address, and registers. */
import { PAGE_SIZE } from '../../kvm/guest_ram.js';
import type { VcpuRegisters } from '../../kvm/vcpu.js';
import type { Machine } from '../machine/machine.js';
import type { VcpuThread } from '../vcpu/vcpu_thread.js';
import { PhysicalMemory } from './physical_memory.js';

/** Pages translated in one visit to a vCPU's thread: bounds how long the guest stands still for it. */
const TRANSLATE_PAGES = 256;
const PAGE = BigInt(PAGE_SIZE);

/** Guest-physical bytes that lie together, and are memory. */
export interface PhysicalRange {
  readonly gpa: bigint;
  readonly byteLength: number;
}

export class GuestMemory {
  readonly physical: PhysicalMemory;
  readonly #vcpus: readonly VcpuThread[];

  /** @param machine undefined for `-machine none`, which has no memory and no vCPU */
  constructor(machine: Machine | undefined) {
    this.physical = new PhysicalMemory(machine);
    this.#vcpus = machine?.vcpus ?? [];
  }

  hasVcpu(index: number | bigint): boolean {
    return this.#vcpus[Number(index)] !== undefined;
  }

  /** The registers of a vCPU at some moment of now. @throws RangeError where there is no such vCPU */
  registers(vcpu: number): Promise<VcpuRegisters> {
    return this.#vcpu(vcpu).request({ type: 'registers' });
  }

  /** The registers of every vCPU. */
  allRegisters(): Promise<VcpuRegisters[]> {
    return Promise.all(this.#vcpus.map((vcpu) => vcpu.request({ type: 'registers' })));
  }

  /** A copy of guest-physical [gpa, gpa + length); where there is no memory it is zero. */
  readPhysical(gpa: bigint, length: number): Uint8Array {
    return this.physical.read(gpa, length);
  }

  /**
   * A copy of guest-virtual [address, address + length), as a vCPU sees it; undefined where not all of it is mapped to memory.
   * @throws RangeError where there is no such vCPU
   */
  async readVirtual(vcpu: number, address: bigint, length: number): Promise<Uint8Array | undefined> {
    const out = new Uint8Array(length);
    let at = 0;
    for await (const { gpa, byteLength } of this.virtualRanges(vcpu, address, BigInt(length))) {
      out.set(this.physical.read(gpa, byteLength), at);
      at += byteLength;
    }
    return at === length ? out : undefined;
  }

  /**
   * Where guest-virtual [address, address + length) lies. Ends early at the first byte that is not mapped, or not to memory.
   * @throws RangeError where there is no such vCPU
   */
  async *virtualRanges(vcpu: number, address: bigint, length: bigint): AsyncGenerator<PhysicalRange> {
    const thread = this.#vcpu(vcpu);
    const end = address + length;
    for (let at = address; at < end; ) {
      const addresses: bigint[] = [];
      for (let page = at; page < end && addresses.length < TRANSLATE_PAGES; page = page - (page % PAGE) + PAGE) {
        addresses.push(page);
      }
      const found = await thread.request({ type: 'translate', addresses });
      for (const [i, gpa] of found.entries()) {
        const from = addresses[i] as bigint;
        const pageEnd = from - (from % PAGE) + PAGE;
        const wanted = Number((pageEnd < end ? pageEnd : end) - from);
        const byteLength = gpa === undefined ? 0 : Math.min(wanted, this.physical.backedBytes(gpa));
        if (byteLength > 0) yield { gpa: gpa as bigint, byteLength };
        if (byteLength < wanted) return;
        at = pageEnd;
      }
    }
  }

  #vcpu(index: number): VcpuThread {
    const vcpu = this.#vcpus[index];
    if (!vcpu) throw new RangeError(`there is no vCPU ${index}`);
    return vcpu;
  }
}
