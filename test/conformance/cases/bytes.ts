/** Texts that are almost JSON: pieces in any order, and good commands with some bytes changed. */
import type { Transcript } from '../transcript.js';
import { NONE } from './machines.js';
import { pick, random } from './random.js';

const PIECES = [
  ...['{', '}', '[', ']', ':', ',', '"a"', '"execute"', '"query-name"', '"id"', "'s'", '"\\u00e9"', '"\\ud834\\udd1e"'],
  ...['1', '-1', '0', '01', '1.5', '1e5', '-', '1.', 'true', 'false', 'null', 'foo', 'Foo', '"', "'", '\\', '%d'],
  ...[' ', '\n', '\t', '\r', '\x00', '\x01', '\x7f', '\x80', '\xc3\xa9', '\xff', '\xfe', '"\\q"', '"\x80"', '//', '#'],
  ...['{"execute":"query-name"}', '{"execute":"query-name","id":1}', '[[', ']]', '{"a":', '"b'],
] as const;
const GOOD = [
  '{"execute":"query-name","id":"x"}',
  '{"execute":"query-name","arguments":{},"id":[1,{"a":null}]}',
] as const;
/** Clears whatever is open, and shows that it is. */
const RESYNC = { send: '"\xff\n{"execute":"query-name","id":"after"}\n', recv: '' };

export function byteCases(): Transcript[] {
  const next = random(7);
  return Array.from({ length: 400 }, (_, i) => {
    let text = '';
    if (i % 2 === 0) for (let left = 1 + next(12); left > 0; left--) text += pick(next, PIECES);
    else {
      const good = [...pick(next, GOOD)];
      for (let left = 1 + next(3); left > 0; left--) {
        const at = next(good.length);
        const what = next(3);
        if (what === 0) good.splice(at, 1);
        else if (what === 1) good.splice(at, 0, String.fromCharCode(next(256)));
        else good[at] = String.fromCharCode(next(256));
      }
      text = good.join('');
    }
    const steps = [{ send: `${text}\n`, recv: '' }, RESYNC];
    return { name: `bytes-${i}`, group: 'json', negotiated: true, qemu_args: NONE, steps };
  });
}
