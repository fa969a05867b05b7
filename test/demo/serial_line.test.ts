import t from 'tap';
import { heartbeatFault, heartbeats } from '../../demo/serial_line.js';
import { table } from '../../demo/table.js';

t.test('heartbeats are read from whole lines, and a gap or a repetition is named', async (t) => {
  const text = 'GUEST-UP ram=64\nHB 1 passes=0\nHB 2 passes=0\nHB 3 pas';
  t.same(heartbeats(text), [1, 2]);
  t.same(heartbeats(`${text}ses=1\n`), [1, 2, 3]);
  t.equal(heartbeatFault([4, 5, 6]), undefined);
  t.equal(heartbeatFault([4, 6]), 'heartbeat 6 follows heartbeat 4');
  t.equal(heartbeatFault([4, 4]), 'heartbeat 4 follows heartbeat 4');
});

t.test('a table has its numbers to the right', async (t) => {
  t.equal(
    table(
      ['what', 'n'],
      [
        ['a', '1'],
        ['bcdef', '100'],
      ],
    ),
    'what     n\n-----  ---\na        1\nbcdef  100',
  );
});
