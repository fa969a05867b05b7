/**
 * QMP `dump-guest-memory` and `query-dump`: a core of the guest, which stands still meanwhile. One at a time; no migration runs beside it.
 * Order of checks, events and texts: QEMU's dump/dump.c.
 */
import { SysError, strerror } from '../../kvm/errors.js';
import type { VcpuRegisters } from '../../kvm/vcpu.js';
import { genericError } from '../../protocol/qmp_errors.js';
import type { CommandArguments, DumpQueryResult } from '../../schemas/generated/qmp.js';
import type { NamedFds } from '../fds/named_fds.js';
import { DUMP_IN_PROGRESS, type Emit, type Lifecycle } from '../lifecycle/lifecycle.js';
import type { DaemonLog } from '../log.js';
import type { GuestMemory } from '../memory/guest_memory.js';
import { type Output, openOutput, outputOf } from '../memory/output.js';
import type { MemoryBlock } from '../memory/physical_memory.js';
import { coreNotes, isLongMode } from './core_notes.js';
import { filterBlocks, loadSegments, type MemoryFilter } from './core_plan.js';
import { type CoreFrame, coreFrame, EM_386, EM_X86_64 } from './elf_core.js';
import { type PageMapping, pageMappings } from './page_tables.js';

const MIGRATION_BLOCKED = 'Live migration disabled: dump-guest-memory in progress';
/** Of a file that is made: as QEMU's, only to be read. */
const FILE_MODE = 0o400;

type DumpArguments = CommandArguments<'dump-guest-memory'>;

export interface GuestDumpOptions {
  memory: GuestMemory;
  lifecycle: Lifecycle;
  log: DaemonLog;
  emit: Emit;
  /** Whether a migration runs. */
  migrating: () => boolean;
}

/** A core that can be written. */
interface Core {
  readonly frame: CoreFrame;
  readonly blocks: readonly MemoryBlock[];
}

export class GuestDump {
  readonly #options: GuestDumpOptions;
  #status: DumpQueryResult['status'] = 'none';
  #completed = 0;
  #total = 0;
  /** A command opens what it writes to, or writes. */
  #busy = false;
  #output: Output | undefined;
  #closed = false;

  constructor(options: GuestDumpOptions) {
    this.#options = options;
  }

  /** Why no migration may begin now; undefined where one may. */
  get migrationBlocker(): string | undefined {
    return this.#status === 'active' ? MIGRATION_BLOCKED : undefined;
  }

  query(): DumpQueryResult {
    return { status: this.#status, completed: this.#completed, total: this.#total };
  }

  /**
   * Dumps; with `detach` it returns once that has begun.
   * @param fds where `fd:NAME` finds its descriptor
   * @throws QmpError in QEMU's words
   */
  async dump(args: DumpArguments, fds: NamedFds): Promise<void> {
    const filter = this.#check(args);
    this.#busy = true;
    try {
      const output = await openProtocol(args.protocol, fds);
      if (this.#options.migrating()) {
        output[Symbol.dispose]();
        throw genericError(`disallowing migration blocker (migration/snapshot in progress) for: ${MIGRATION_BLOCKED}`);
      }
      const core = await this.#begin(output, args.paging, filter);
      const written = this.#write(output, core);
      if (args.detach)
        written.catch(() => undefined); // the event has told it
      else await written;
    } finally {
      this.#busy = false;
    }
  }

  /** Ends a dump under way: the daemon ends. */
  close(): void {
    this.#closed = true;
    this.#output?.[Symbol.dispose]();
  }

  #check({ paging, begin, length, format = 'elf' }: DumpArguments): MemoryFilter | undefined {
    if (this.#options.lifecycle.status === 'inmigrate') {
      throw genericError('Dump not allowed during incoming migration.');
    }
    if (this.#busy || this.#status === 'active') throw genericError(DUMP_IN_PROGRESS);
    if (format !== 'elf' && (paging || begin !== undefined || length !== undefined)) {
      throw genericError("kdump-compressed format doesn't support paging or filter");
    }
    if (begin !== undefined && length === undefined) throw genericError("Parameter 'length' is missing");
    if (begin === undefined && length !== undefined) throw genericError("Parameter 'begin' is missing");
    if (format !== 'elf') throw genericError(`${format} is not available now`);
    return begin === undefined || length === undefined ? undefined : { begin, length };
  }

  /** Pauses the guest and lays the core out. @throws QmpError; the guest goes on then */
  async #begin(output: Output, paging: boolean, filter: MemoryFilter | undefined): Promise<Core> {
    const { lifecycle } = this.#options;
    this.#status = 'active';
    this.#completed = 0;
    this.#total = 0;
    this.#output = output;
    try {
      await lifecycle.pauseForDump();
      return await this.#layOut(paging, filter);
    } catch (error) {
      this.#status = 'failed';
      await this.#release(output);
      throw error;
    }
  }

  async #layOut(paging: boolean, filter: MemoryFilter | undefined): Promise<Core> {
    const { memory } = this.#options;
    if (filter && filter.length <= 0n) throw genericError("Invalid parameter 'length'");
    const blocks = filterBlocks(memory.physical.blocks, filter);
    const total = blocks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (total === 0) throw genericError('dump: no guest memory to dump');
    if (filter && filter.begin < 0n) throw genericError("Invalid parameter 'begin'");
    this.#total = total;
    const registers = await memory.allRegisters();
    const mappings = paging ? await this.#mappings(registers) : undefined;
    const machine = registers[0] && isLongMode(registers[0]) ? EM_X86_64 : EM_386;
    return { frame: coreFrame(machine, coreNotes(registers), loadSegments(blocks, mappings), total), blocks };
  }

  /** Those of every set of page tables in use, each mapping once; undefined where no vCPU uses any. */
  async #mappings(registers: readonly VcpuRegisters[]): Promise<PageMapping[] | undefined> {
    const seen = new Map<string, PageMapping>();
    const tables = new Map(registers.map(({ sregs }) => [sregs.cr3, sregs]));
    let paging = false;
    for (const sregs of tables.values()) {
      const mappings = await pageMappings(this.#options.memory.physical, sregs).catch((error: Error) => {
        throw genericError(`dump: ${error.message}`);
      });
      paging ||= mappings !== undefined;
      for (const mapping of mappings ?? []) {
        seen.set(`${mapping.virtual} ${mapping.gpa} ${mapping.byteLength}`, mapping);
      }
    }
    return paging ? [...seen.values()] : undefined;
  }

  /** Writes it all and tells the clients how that went; then the guest goes on. @throws QmpError */
  async #write(output: Output, { frame, blocks }: Core): Promise<void> {
    let failure: Error | undefined;
    try {
      await described('dump: failed to write elf header', output.write(frame.head));
      for (const { gpa, byteLength } of blocks) {
        for (const piece of this.#options.memory.physical.pieces(BigInt(gpa), BigInt(byteLength))) {
          if (this.#closed) throw genericError('dump: the daemon ends');
          await described('dump: failed to save memory', output.write(piece));
          this.#completed += typeof piece === 'number' ? piece : piece.length;
        }
      }
      await described('dump: failed to write section headers', output.write(frame.tail));
      await described('dump: failed to save memory', output.end());
    } catch (error) {
      failure = error as Error;
      this.#options.log.warn({ err: failure }, `the guest could not be dumped: ${failure.message}`);
    }
    this.#status = failure ? 'failed' : 'completed';
    const result = this.query();
    this.#options.emit('DUMP_COMPLETED', failure ? { result, error: failure.message } : { result });
    await this.#release(output);
    if (failure) throw failure;
  }

  async #release(output: Output): Promise<void> {
    output[Symbol.dispose]();
    this.#output = undefined;
    await this.#options.lifecycle.dumped();
  }
}

/** What `file:PATH` and `fd:NAME` stand for. @throws QmpError */
async function openProtocol(protocol: string, fds: NamedFds): Promise<Output> {
  if (protocol.startsWith('fd:')) {
    const name = protocol.slice('fd:'.length);
    const fd = fds.take(name);
    if (fd === undefined) throw genericError(`File descriptor named '${name}' has not been found`);
    return outputOf(fd);
  }
  if (!protocol.startsWith('file:')) throw genericError("Invalid parameter 'protocol'");
  return openOutput(protocol.slice('file:'.length), FILE_MODE);
}

/** @throws QmpError that says what failed, and why */
async function described(what: string, writing: Promise<void>): Promise<void> {
  await writing.catch((error: Error) => {
    throw error instanceof SysError ? genericError(`${what}: ${strerror(error.errno)}`) : error;
  });
}
