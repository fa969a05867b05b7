/** QMP `memsave` and `pmemsave`: guest memory into a file, while the guest goes on. */
import { SysError } from '../../kvm/errors.js';
import { genericError, invalidParameter } from '../../protocol/qmp_errors.js';
import type { GuestMemory, PhysicalRange } from './guest_memory.js';
import { type Output, openOutput } from './output.js';

export class MemorySaver {
  readonly #memory: GuestMemory;
  readonly #open = new Set<Output>();
  #closed = false;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Guest-virtual memory, as a vCPU sees it. @throws QmpError in QEMU's words */
  async saveVirtual(address: bigint, size: bigint, path: string, vcpu = 0n): Promise<void> {
    if (!this.#memory.hasVcpu(vcpu)) throw invalidParameter('cpu-index', 'a CPU number');
    const ranges = this.#memory.virtualRanges(Number(vcpu), BigInt.asUintN(64, address), size);
    const saved = await this.#save(path, ranges);
    if (saved < size) {
      const hex = BigInt.asUintN(64, address).toString(16).padStart(16, '0');
      throw genericError(`Invalid addr 0x${hex}/size ${size} specified`);
    }
  }

  /** Guest-physical memory; where there is none, zeros. @throws QmpError in QEMU's words */
  async savePhysical(address: bigint, size: bigint, path: string): Promise<void> {
    await this.#save(path, [{ gpa: BigInt.asUintN(64, address), byteLength: size }]);
  }

  /** Ends what is under way: the daemon ends. */
  close(): void {
    this.#closed = true;
    for (const output of this.#open) output[Symbol.dispose]();
  }

  /** @returns how many bytes the ranges were */
  async #save(
    path: string,
    ranges: AsyncIterable<PhysicalRange> | Iterable<{ gpa: bigint; byteLength: bigint }>,
  ): Promise<bigint> {
    using output = await openOutput(path, 0o666);
    this.#open.add(output);
    try {
      let saved = 0n;
      for await (const { gpa, byteLength } of ranges) {
        for (const piece of this.#memory.physical.pieces(gpa, BigInt(byteLength))) {
          if (this.#closed) throw genericError('The daemon ends');
          await output.write(piece);
        }
        saved += BigInt(byteLength);
      }
      await output.end();
      return saved;
    } catch (error) {
      if (error instanceof SysError) throw genericError('An IO error has occurred');
      throw error;
    } finally {
      this.#open.delete(output);
    }
  }
}
