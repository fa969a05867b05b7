import t from 'tap';
import { Pvpanic } from '../../../daemon/devices/pvpanic.js';
import { FakeHost } from './fake_host.js';

t.test('a guest reports a panic or that it writes a dump; a panic wins; other bits mean nothing', (t) => {
  const host = new FakeHost();
  const device = new Pvpanic(host);
  t.equal(device.pioRead(0x505, 1), 3, 'both can be reported');
  for (const value of [1, 2, 3, 0, 0xfc]) device.pioWrite(0x505, 1, value);
  t.same(host.panics, ['panicked', 'crash-loaded', 'panicked']);
  t.end();
});

t.test('port and events are as they were asked for', (t) => {
  const device = new Pvpanic(new FakeHost(), { ioport: 0x600, events: 1 });
  t.same(device.pioRanges, [{ port: 0x600, length: 1 }]);
  t.equal(device.pioRead(0x600, 1), 1);
  t.end();
});
