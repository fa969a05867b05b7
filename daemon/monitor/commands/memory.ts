/** Commands that look into the guest's memory. */
import { command, type MonitorContext } from '../command.js';
import { formatItem, type MemoryFormat } from '../memory_format.js';
import { integer, long, memoryFormat, word } from '../parameters.js';

/** Lines made in a row before other work of the process gets its turn. */
const LINES_PER_TURN = 256;

/** Reads `length` bytes, at most a line's; undefined where not all of them are memory. */
type ReadLine = (address: bigint, length: number) => Promise<Uint8Array | undefined>;

/** Shows memory line by line, each as it is when its turn comes (memory_dump of QEMU's monitor/misc.c). */
async function dump(monitor: MonitorContext, format: MemoryFormat, start: bigint, read: ReadLine): Promise<void> {
  if (format.letter === 'i') {
    monitor.print('Instructions cannot be shown: there is no disassembler\n');
    return;
  }
  const perLine = format.bytes === 1 ? 8 : 16;
  const item = format.letter === 'c' ? { ...format, bytes: 1 } : format;
  // C's int: a count beyond it wraps, and nothing is shown of what is then negative.
  let left = Number(BigInt.asIntN(32, BigInt(format.count) * BigInt(format.bytes)));
  for (let line = 1, address = start; left > 0; line++) {
    const length = Math.min(left, perLine);
    const bytes = await read(BigInt.asUintN(64, address), length);
    const items = bytes ? lineItems(item, bytes) : ' Cannot access memory';
    monitor.print(`${BigInt.asUintN(64, address).toString(16).padStart(16, '0')}:${items}\n`);
    if (!bytes) return;
    address += BigInt(length);
    left -= length;
    if (line % LINES_PER_TURN === 0) await monitor.room();
  }
}

function lineItems(format: MemoryFormat, bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let text = '';
  for (let at = 0; at < bytes.length; at += format.bytes)
    text += ` ${formatItem(format, itemAt(view, at, format.bytes))}`;
  return text;
}

function itemAt(view: DataView, at: number, bytes: number): bigint {
  switch (bytes) {
    case 1:
      return BigInt(view.getUint8(at));
    case 2:
      return BigInt(view.getUint16(at, true));
    case 4:
      return BigInt(view.getUint32(at, true));
    default:
      return view.getBigUint64(at, true);
  }
}

export const MEMORY_COMMANDS = [
  command({
    name: 'x',
    params: '/fmt addr',
    help: 'show memory at a virtual address of the current CPU',
    args: { format: memoryFormat, address: long },
    async run({ format, address }, monitor) {
      const { memory, cpu } = monitor;
      if (!memory.hasVcpu(cpu.index)) monitor.print('Can not dump without CPU\n');
      else await dump(monitor, format, address, (at, length) => memory.readVirtual(cpu.index, at, length));
    },
  }),
  command({
    name: 'xp',
    params: '/fmt addr',
    help: 'show memory at a physical address',
    args: { format: memoryFormat, address: long },
    async run({ format, address }, monitor) {
      const { physical } = monitor.memory;
      await dump(monitor, format, address, async (at, length) =>
        physical.backedBytes(at) < length ? undefined : physical.read(at, length),
      );
    },
  }),
  command({
    name: 'memsave',
    params: 'addr size file',
    help: 'write memory at a virtual address of the current CPU to a file',
    args: { val: long, size: integer, filename: word() },
    async run({ val, size, filename }, { memory, cpu, qmp, print }) {
      if (!memory.hasVcpu(cpu.index)) print('No CPU available\n');
      else await qmp('memsave', { val, size: BigInt(size), filename, 'cpu-index': BigInt(cpu.index) });
    },
  }),
  command({
    name: 'pmemsave',
    params: 'addr size file',
    help: 'write memory at a physical address to a file',
    args: { val: long, size: integer, filename: word() },
    run: ({ val, size, filename }, { qmp }) => qmp('pmemsave', { val, size: BigInt(size), filename }),
  }),
  command({
    name: 'nmi',
    help: 'raise a non-maskable interrupt on every CPU',
    run: (_, { qmp }) => qmp('inject-nmi'),
  }),
];
