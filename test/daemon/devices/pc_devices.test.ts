import fc from 'fast-check';
import t from 'tap';
import { DEBUG_EXIT_DEFAULTS, DebugExit } from '../../../daemon/devices/debug_exit.js';
import { createDeviceSetup, type DeviceOptions, PcDevices } from '../../../daemon/devices/pc_devices.js';
import { PVPANIC_DEFAULTS } from '../../../daemon/devices/pvpanic.js';
import { ResetPorts } from '../../../daemon/devices/reset_ports.js';
import { FakeHost } from './fake_host.js';

function make(options: DeviceOptions = { debugExit: DEBUG_EXIT_DEFAULTS, pvpanic: PVPANIC_DEFAULTS, ib700: true }) {
  const setup = createDeviceSetup(2 ** 29, options);
  const host = new FakeHost();
  return { setup, host, devices: PcDevices.attach(setup, host) };
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const pioIn = (devices: PcDevices, port: number, size: number, bytes: Uint8Array) =>
  devices.bus.pioIn(port, size, Math.floor(bytes.length / size), view(bytes), 0);
const pioOut = (devices: PcDevices, port: number, size: number, bytes: Uint8Array) =>
  devices.bus.pioOut(port, size, Math.floor(bytes.length / size), view(bytes), 0);

t.test('every device is reached through the bus', async (t) => {
  const { devices, host } = make();
  const read = (port: number, size = 1) => {
    const bytes = new Uint8Array(size);
    t.ok(pioIn(devices, port, size, bytes), `port ${port.toString(16)}`);
    return Buffer.from(bytes).readUIntLE(0, size);
  };
  const write = (port: number, ...bytes: number[]) => pioOut(devices, port, bytes.length, Uint8Array.from(bytes));
  t.equal(read(0x3fd), 0x60);
  t.equal(read(0x64) & 1, 0);
  write(0x70, 0x0d);
  t.equal(read(0x71), 0x80);
  write(0x70, 0x02, 0x33);
  t.equal(read(0x71), 0x33, 'index and data in one access');
  t.equal(read(0x92), 0x02);
  t.equal(read(0xcf9), 0);
  t.equal(read(0x501), 0);
  write(0x64, 0xfe);
  write(0xcf9, 0x06);
  write(0x92, 0x03);
  t.same(host.resets, ['keyboard controller', 'port 0xcf9', 'port 0x92']);
  write(0x501, 0x10);
  write(0x501, 0x34, 0x12);
  write(0x501, 0x34, 0x12, 0xff, 0xff);
  t.same(host.exits, [0x21, 0x2469, 0x2469]);
  t.same(devices.counters.read().pioReads, 0);
});

t.test('without the option there is no debug-exit port', async (t) => {
  const devices = PcDevices.attach(createDeviceSetup(2 ** 29), new FakeHost());
  t.notOk(pioOut(devices, 0x501, 1, Uint8Array.of(0)));
  t.same(Object.keys(devices.versions()), ['i8042', 'reset-ports', 'cmos', 'serial0', 'acpi-pm']);
});

t.test('the debug-exit port is as wide as it was asked to be', async (t) => {
  const { devices, host } = make({ debugExit: { iobase: 0xf4, iosize: 4 } });
  pioOut(devices, 0xf4, 4, Uint8Array.of(0x01, 0x02, 0x03, 0xff));
  t.same(host.exits, [0xfe060403]);
});

t.test('two threads that attach share the devices, but not their hosts', async (t) => {
  const { setup, host, devices } = make();
  const other = new FakeHost();
  pioOut(PcDevices.attach(setup, other), 0x3f8, 1, Buffer.from('abc'));
  const target = new Uint8Array(10);
  t.equal(devices.serial.drainTx(target), 3);
  t.equal(other.serialActivities, 1);
  t.equal(host.serialActivities, 0);
});

t.test('port 0x92 resets on the rising edge of its bit only', async (t) => {
  const host = new FakeHost();
  const ports = new ResetPorts(new SharedArrayBuffer(ResetPorts.byteLength), 0, host);
  ports.reset();
  ports.pioWrite(0x92, 1, 0x03);
  ports.pioWrite(0x92, 1, 0x03);
  t.equal(host.resets.length, 1);
  ports.pioWrite(0xcf9, 1, 0x02);
  t.equal(host.resets.length, 1);
  t.equal(ports.pioRead(0xcf9, 1), 0x02);
  t.throws(() => ports.load({ ...ports.save(), rcr: 3 }), { name: 'DeviceStateError' });
  const exit = new DebugExit(host);
  exit.load(exit.save());
  t.throws(() => exit.load({}), { name: 'DeviceStateError' });
});

t.test('no guest can make a device throw, and a saved machine loads into another that behaves the same', async () => {
  const ports = [
    0x60, 0x64, 0x70, 0x71, 0x92, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x501, 0xcf8, 0xcf9,
  ];
  const access = fc.record({
    port: fc.oneof(fc.constantFrom(...ports), fc.nat({ max: 0xffff })),
    size: fc.constantFrom(1, 2, 4),
    bytes: fc.uint8Array({ minLength: 8, maxLength: 8 }),
    write: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(access, { maxLength: 40 }), fc.array(access, { maxLength: 20 }), (before, after) => {
      const a = make();
      for (const { port, size, bytes, write } of before) {
        if (write) pioOut(a.devices, port, size, bytes);
        else pioIn(a.devices, port, size, bytes);
      }
      const b = make();
      b.devices.load(JSON.parse(JSON.stringify(a.devices.save())));
      b.devices.reassertIrqs();
      for (const gsi of [1, 4]) {
        if (a.host.level(gsi) !== b.host.level(gsi)) return false;
      }
      for (const { port, size, bytes, write } of after) {
        const [forA, forB] = [bytes.slice(), bytes.slice()];
        for (const [machine, data] of [
          [a, forA],
          [b, forB],
        ] as const) {
          if (write) pioOut(machine.devices, port, size, data);
          else pioIn(machine.devices, port, size, data);
        }
        if (Buffer.compare(forA, forB) !== 0) return false;
      }
      return JSON.stringify(a.devices.save()) === JSON.stringify(b.devices.save());
    }),
  );
});

t.test('a machine refuses the state of one with other devices', async (t) => {
  const { devices } = make();
  const saved = devices.save();
  const { cmos: _, ...without } = saved;
  t.throws(() => devices.load(without), { message: 'state of device cmos: its state is missing' });
  t.throws(() => devices.load({ ...saved, 'virtio-net': {} }), {
    name: 'DeviceStateError',
    message: 'state of device "virtio-net": its state belongs to no device of this machine',
  });
  for (const doc of [null, 1, 'x', [], { ...saved, serial0: null }]) {
    t.throws(() => devices.load(doc), { name: 'DeviceStateError' });
  }
});

t.test(
  'asserting the lines again after a load gives every line the level that the state implies, whatever it was',
  async (t) => {
    const a = make();
    pioOut(a.devices, 0x3f9, 1, Uint8Array.of(2));
    t.equal(a.host.level(4), 1);
    const b = make();
    b.devices.load(a.devices.save());
    t.same(b.host.irqs, [], 'loading alone touches no line');
    b.devices.reassertIrqs();
    t.same(b.host.irqs, ['1=0', '4=1', '9=0']);
    a.devices.load(make().devices.save());
    a.devices.reassertIrqs();
    t.equal(a.host.level(4), 0);
  },
);
