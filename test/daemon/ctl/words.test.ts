import t from 'tap';
import { splitLine } from '../../../daemon/ctl/words.js';

t.test('a line is split at blanks; quotes and JSON keep theirs', async (t) => {
  const lines: [string, string[]][] = [
    ['', []],
    ['  stop\t ', ['stop']],
    ['migrate uri=tcp:a:1 detach=on', ['migrate', 'uri=tcp:a:1', 'detach=on']],
    ['hmp "info status" x', ['hmp', 'info status', 'x']],
    [`a b='c d' e="f \\"g\\" h"`, ['a', 'b=c d', 'e=f "g" h']],
    ['a "" b=""', ['a', '', 'b=']],
    ["it's 5\" wide a=b='c d'", ["it's", '5"', 'wide', "a=b='c", "d'"]],
    ['c x=[{"a": "b ]", "c": [1, 2]}] y', ['c', 'x=[{"a": "b ]", "c": [1, 2]}]', 'y']],
    ['{"execute": "stop"}', ['{"execute": "stop"}']],
  ];
  for (const [line, words] of lines) {
    t.same(splitLine(line).words, words, line);
    t.equal(splitLine(line).open, undefined, line);
  }
});

t.test('what is not closed is named, and where the last word begins is known', async (t) => {
  t.match(splitLine('a b="c d'), { words: ['a', 'b=c d'], open: '"', lastAt: 2 });
  t.match(splitLine("a 'b"), { open: "'", lastAt: 2 });
  t.match(splitLine('a x=[{"b": 1'), { open: '}', lastAt: 2 });
  t.match(splitLine('a x=["b'), { open: '"' });
  t.match(splitLine('abc de'), { lastAt: 4, open: undefined });
  t.match(splitLine('abc '), { words: ['abc'], lastAt: 4 });
});
