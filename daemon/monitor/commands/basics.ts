/** Commands of the monitor itself. */
import { command } from '../command.js';
import { formatValue } from '../memory_format.js';
import { integer, long, memoryFormat, word } from '../parameters.js';

export const BASIC_COMMANDS = [
  command({
    name: 'cpu',
    params: 'index',
    help: 'choose the current CPU',
    args: { index: integer },
    run({ index }, monitor) {
      if (monitor.memory.hasVcpu(index)) monitor.cpu.index = index;
      else monitor.print('invalid CPU index\n');
    },
  }),
  command({
    name: 'print|p',
    params: '/fmt expr',
    help: 'show the value of an expression ($reg: a register of the current CPU)',
    args: { format: memoryFormat, value: long },
    run: ({ format, value }, { print }) => print(`${formatValue(format.letter, value)}\n`),
  }),
  command({
    name: 'getfd',
    params: 'name',
    help: 'name the file descriptor that came over SCM_RIGHTS',
    args: { fdname: word() },
    run: ({ fdname }, { qmp }) => qmp('getfd', { fdname }),
  }),
  command({
    name: 'closefd',
    params: 'name',
    help: 'close a file descriptor that was given a name',
    args: { fdname: word() },
    run: ({ fdname }, { qmp }) => qmp('closefd', { fdname }),
  }),
];
