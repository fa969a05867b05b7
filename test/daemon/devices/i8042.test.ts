import fc from 'fast-check';
import t from 'tap';
import { I8042 } from '../../../daemon/devices/i8042.js';
import { FakeHost } from './fake_host.js';

function make() {
  const host = new FakeHost();
  const device = new I8042(new SharedArrayBuffer(I8042.byteLength), 0, host);
  device.reset();
  return {
    host,
    device,
    status: () => device.pioRead(0x64, 1),
    data: () => device.pioRead(0x60, 1),
    command: (value: number) => device.pioWrite(0x64, 1, value),
    write: (value: number) => device.pioWrite(0x60, 1, value),
  };
}

t.test('Linux finds a controller that works, and neither keyboard nor mouse, without a time-out', async (t) => {
  const { host, status, data, command, write } = make();
  // drivers/input/serio/i8042.c: i8042_controller_check(), i8042_controller_init(), i8042_controller_selftest()
  t.equal(status() & 0x01, 0, 'nothing to flush');
  t.equal(status() & 0x02, 0, 'ready for a command');
  command(0x20);
  t.equal(status() & 0x01, 1);
  const ctr = data();
  t.equal(ctr & 0x51, 0x41, 'keyboard on, with interrupt and translation');
  command(0x60);
  write((ctr | 0x10) & ~0x01);
  command(0x20);
  t.equal(data(), (ctr | 0x10) & ~0x01);
  command(0xaa);
  t.equal(data(), 0x55);
  // i8042_check_aux(): the loopback must not look like an auxiliary port, and its test must fail.
  command(0xd3);
  write(0x5a);
  t.equal(status() & 0x21, 0x01);
  t.equal(data(), 0x5a);
  command(0xa9);
  t.ok([1, 2, 3].includes(data()));
  // A byte to the keyboard is answered with RESEND and the time-out bit, by interrupt.
  command(0x60);
  write(0x41);
  t.equal(host.level(1), 0);
  write(0xf2);
  t.equal(host.level(1), 1);
  t.equal(status() & 0x61, 0x41);
  t.equal(data(), 0xfe);
  t.equal(host.level(1), 0);
  t.equal(status() & 0x41, 0);
});

t.test('0xfe on the command port resets the machine, once for each', async (t) => {
  const { host, command } = make();
  command(0xfe);
  t.same(host.resets, ['keyboard controller']);
  command(0xff);
  t.equal(host.resets.length, 1, '0xff pulses nothing');
  command(0xf0);
  t.equal(host.resets.length, 2);
});

t.test('so does clearing bit 0 of the output port', async (t) => {
  const { host, command, write, data } = make();
  command(0xd0);
  t.equal(data() & 3, 3);
  command(0xd1);
  write(0x03);
  t.same(host.resets, []);
  command(0xd1);
  write(0x02);
  t.same(host.resets, ['keyboard controller']);
});

t.test('a byte to the mouse that is not there raises no keyboard interrupt', async (t) => {
  const { host, command, write, status, data } = make();
  command(0xd4);
  write(0xf4);
  t.equal(status() & 0x61, 0x61);
  t.equal(host.level(1), 0);
  t.equal(data(), 0xfe);
});

t.test('no sequence of accesses throws, and a saved controller goes on elsewhere where it was', async () => {
  const step = fc.record({ port: fc.constantFrom(0x60, 0x64), value: fc.nat({ max: 255 }), write: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step), fc.array(step), (before, after) => {
      const a = make();
      for (const s of before) s.write ? a.device.pioWrite(s.port, 1, s.value) : a.device.pioRead(s.port, 1);
      const b = make();
      b.device.load(JSON.parse(JSON.stringify(a.device.save())));
      b.device.reassertIrq();
      for (const s of after) {
        if (a.host.level(1) !== b.host.level(1)) return false;
        if (s.write) {
          a.device.pioWrite(s.port, 1, s.value);
          b.device.pioWrite(s.port, 1, s.value);
        }
        const value = a.device.pioRead(s.port, 1);
        if (value !== b.device.pioRead(s.port, 1) || value < 0 || value > 255) return false;
      }
      return true;
    }),
  );
});

t.test('a hostile document is refused', async (t) => {
  const { device } = make();
  t.throws(() => device.load({ ...device.save(), ctr: 256 }), {
    message: 'state of device i8042: ctr is 256, not within 0 and 255',
  });
  t.throws(() => device.load({}), { name: 'DeviceStateError' });
});
