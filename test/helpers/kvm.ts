/** What tests of kvm/ need: why there is no KVM here, and a VM of one vCPU whose guest is a few bytes of machine code. */
import { accessSync, constants, readdirSync } from 'node:fs';
import { identityPageTables, longModeSregs } from '../../daemon/boot/boot_state.js';
import { EXIT, RUN } from '../../kvm/abi.js';
import { GuestRam } from '../../kvm/guest_ram.js';
import { Kvm } from '../../kvm/kvm.js';
import type { KvmRegs } from '../../kvm/structs.js';
import { Vcpu, type VcpuTraits } from '../../kvm/vcpu.js';
import type { Vm } from '../../kvm/vm.js';

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;

/** Why KVM cannot be used here, or false. */
export function noKvm(): string | false {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return false;
  } catch (error) {
    return `/dev/kvm does not open: ${(error as NodeJS.ErrnoException).code}`;
  }
}

/** What this process's descriptors are open on, sorted. */
export function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd').sort();
}

/** Where the code is, and the page tables: 2 MiB pages, four of GiB 0 to 3, one table more for GiB 4. */
const CODE = 0x1000;
const TABLES = 0x10000;
const TABLE_OF_GIB_4 = 0x20000;
/** The port that the code of a test leaves by. */
export const EXIT_PORT = 0x10;

/** A VM with RAM, chips and one vCPU in 64-bit mode at CPL 0, all memory up to 5 GiB mapped to itself. */
export class TinyVm implements Disposable {
  readonly kvm: Kvm;
  readonly vm: Vm;
  readonly ram: GuestRam;
  readonly vcpu: Vcpu;
  readonly traits: VcpuTraits;
  readonly initiallySet: boolean;
  readonly #owned: Disposable[] = [];

  constructor(ramBytes: number) {
    this.kvm = this.#own(Kvm.open());
    this.vm = this.#own(this.kvm.createVm());
    this.ram = this.#own(GuestRam.create(ramBytes));
    this.vm.createChips();
    this.vm.setRam(this.ram);
    this.initiallySet = this.vm.useManualDirtyLog().initiallySet;
    this.traits = {
      sregs2: this.vm.capability('KVM_CAP_SREGS2') > 0,
      xsaveBytes: this.vm.capability('KVM_CAP_XSAVE2'),
      msrIndexes: this.kvm.msrIndexList(),
      getTscKhz: this.vm.capability('KVM_CAP_GET_TSC_KHZ') > 0,
      setTscKhz: this.vm.capability('KVM_CAP_TSC_CONTROL') > 0,
    };
    this.vcpu = this.addVcpu(0);
    const tables = identityPageTables(TABLES);
    const words = new DataView(tables.buffer);
    // Accessed and dirty from the start, so that a walk writes nothing and no page of tables shows in the dirty log.
    for (let at = 0; at < tables.length; at += 8) {
      const entry = words.getBigUint64(at, true);
      if (entry !== 0n) words.setBigUint64(at, entry | 0x60n, true);
    }
    words.setBigUint64(0x1000 + 4 * 8, BigInt(TABLE_OF_GIB_4) | 0x63n, true);
    const high = new DataView(new ArrayBuffer(4096));
    for (let i = 0; i < 512; i++) high.setBigUint64(8 * i, BigInt(4 * GIB + i * 2 * MIB) | 0xe3n, true);
    this.ram.write(TABLES, tables);
    this.ram.write(TABLE_OF_GIB_4, new Uint8Array(high.buffer));
  }

  /** Another vCPU, with what CPUID this host supports. */
  addVcpu(id: number): Vcpu {
    const vcpu = this.#own(new Vcpu(this.vm.createVcpu(id), id, this.kvm.vcpuMmapSize(), this.traits));
    vcpu.setCpuid(this.kvm.supportedCpuid());
    return vcpu;
  }

  /** Places `code` and sets the vCPU to its first byte. */
  load(code: readonly number[], regs: Partial<KvmRegs> = {}): void {
    this.ram.write(CODE, Uint8Array.from(code));
    const sregs = this.vcpu.getSregs() as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(longModeSregs(TABLES))) {
      const old = sregs[name];
      sregs[name] = typeof old === 'object' && typeof value === 'object' ? { ...old, ...value } : value;
    }
    this.vcpu.setSregs(sregs as never);
    const zero = Object.fromEntries(Object.keys(this.vcpu.getRegs()).map((name) => [name, 0n])) as KvmRegs;
    this.vcpu.setRegs({ ...zero, rip: BigInt(CODE), rsp: 0x8000n, rflags: 2n, ...regs });
  }

  /** Runs until the guest writes to EXIT_PORT. @throws Error for any other exit */
  runToExit(): void {
    let rc: number;
    do rc = this.vcpu.enter();
    while (rc === -4 || rc === -11);
    const { run } = this.vcpu;
    const reason = run.getUint32(RUN.exit_reason, true);
    const port = run.getUint16(RUN.io_port, true);
    if (rc !== 0 || reason !== EXIT.IO || port !== EXIT_PORT) {
      throw new Error(`KVM_RUN gave ${rc}, exit reason ${reason}, port 0x${port.toString(16)}`);
    }
  }

  #own<T extends Disposable>(resource: T): T {
    this.#owned.push(resource);
    return resource;
  }

  [Symbol.dispose](): void {
    for (const resource of this.#owned.splice(0).reverse()) resource[Symbol.dispose]();
  }
}

/** Machine code of the tests' guests. */
export const ASM = {
  /** `out EXIT_PORT, al`, then again for ever. */
  exit: [0xe6, EXIT_PORT, 0xeb, 0xfc],
  /** `mov [rdi], rax` */
  store: [0x48, 0x89, 0x07],
  /** `add rdi, 0x1000` */
  nextPage: [0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00],
} as const;

/** Writes rax to rcx pages from rdi on, then exits. */
export const DIRTY_PAGES: readonly number[] = [
  ...ASM.store,
  ...ASM.nextPage,
  ...[0x48, 0xff, 0xc9], // dec rcx
  ...[0x75, 0x100 - 15], // jnz to the store
  ...ASM.exit,
];
