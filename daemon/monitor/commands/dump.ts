/** Commands that write the guest's memory to a file as a core dump. */
import { genericError } from '../../../protocol/qmp_errors.js';
import { command } from '../command.js';
import { fileName, flag, long, optional } from '../parameters.js';

export const DUMP_COMMAND = command({
  name: 'dump-guest-memory',
  params: '[-p] [-d] [-z|-l|-s|-w] filename [begin length]',
  help:
    'write memory to an ELF core (-p: with page tables followed; -d: do not wait for the end; -z, -l, -s and -w, ' +
    'other formats, are refused)',
  args: {
    paging: flag('p'),
    detach: flag('d'),
    windows: flag('w'),
    zlib: flag('z'),
    lzo: flag('l'),
    snappy: flag('s'),
    filename: fileName,
    begin: optional(long),
    length: optional(long),
  },
  async run({ paging, detach, filename, begin, length, ...given }, { qmp }) {
    const formats = [
      ...(given.windows ? ['win-dmp'] : []),
      ...(given.zlib ? ['kdump-zlib'] : []),
      ...(given.lzo ? ['kdump-lzo'] : []),
      ...(given.snappy ? ['kdump-snappy'] : []),
    ];
    if (formats.length > 1) throw genericError("only one of '-z|-l|-s|-w' can be set");
    await qmp('dump-guest-memory', {
      paging,
      protocol: `file:${filename}`,
      detach,
      ...(begin === undefined ? {} : { begin }),
      ...(length === undefined ? {} : { length }),
      format: formats[0] ?? 'elf',
    });
  },
});

export const INFO_DUMP = command({
  name: 'dump',
  help: 'how far a dump of memory is',
  async run(_, { qmp, print }) {
    const { status, completed, total } = await qmp('query-dump');
    print(`Status: ${status}\n`);
    if (status === 'active') print(`Finished: ${((100 * Number(completed)) / Number(total)).toFixed(2)} %\n`);
  },
});
