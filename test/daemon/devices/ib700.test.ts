import t from 'tap';
import { Ib700 } from '../../../daemon/devices/ib700.js';
import { FakeHost } from './fake_host.js';

const SECOND = 1_000_000_000n;

function make() {
  const host = new FakeHost();
  const watchdog = new Ib700(new SharedArrayBuffer(Ib700.byteLength), 0, host);
  watchdog.reset();
  return { host, watchdog };
}

t.test('the value written counts down from 30 seconds in steps of two', (t) => {
  const { host, watchdog } = make();
  for (const [value, seconds] of [
    [0, 30n],
    [1, 28n],
    [14, 2n],
    [15, 0n],
    [0xf0, 30n],
  ] as const) {
    watchdog.pioWrite(0x443, 1, value);
    const end = host.clockNs + seconds * SECOND;
    t.notOk(watchdog.expire(end), `not yet after ${seconds} s`);
    t.ok(watchdog.expire(end + 1n), `after ${seconds} s`);
    t.notOk(watchdog.expire(end + SECOND), 'and once only');
  }
  t.end();
});

t.test('it is stopped by the other port and by a reset', (t) => {
  const { watchdog } = make();
  for (const stop of [() => watchdog.pioWrite(0x441, 1, 0), () => watchdog.reset()]) {
    watchdog.pioWrite(0x443, 1, 14);
    t.not(watchdog.takeDeadlineNs(), undefined);
    stop();
    t.equal(watchdog.takeDeadlineNs(), undefined);
    t.notOk(watchdog.expire(2n ** 63n));
  }
  t.end();
});

t.test('a guest that starts it in a loop is reported once until somebody has looked', (t) => {
  const { host, watchdog } = make();
  for (let i = 0; i < 1000; i++) watchdog.pioWrite(0x443, 1, 0);
  t.equal(host.watchdogChanges, 1);
  watchdog.takeDeadlineNs();
  watchdog.pioWrite(0x443, 1, 0);
  t.equal(host.watchdogChanges, 2);
  t.end();
});

t.test('the time left travels; a made-up one is refused by name', (t) => {
  const { host, watchdog } = make();
  watchdog.pioWrite(0x443, 1, 10);
  const other = make();
  other.watchdog.load(watchdog.save());
  t.equal(other.watchdog.takeDeadlineNs(), host.clockNs + 10n * SECOND + 1n);
  t.throws(() => other.watchdog.load({ version: 1, deadlineNs: -1 }), {
    message: /^state of device ib700: deadlineNs/,
  });
  t.end();
});
