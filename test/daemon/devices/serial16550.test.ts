import fc from 'fast-check';
import t from 'tap';
import { DeviceStateError } from '../../../daemon/devices/layout.js';
import { Serial16550 } from '../../../daemon/devices/serial16550.js';
import { FakeHost } from './fake_host.js';

const [RBR, THR, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR] = [0, 0, 1, 2, 2, 3, 4, 5, 6, 7];
const IRQ = 4;

function make() {
  const host = new FakeHost();
  const buffer = new SharedArrayBuffer(Serial16550.byteLength);
  const serial = new Serial16550(buffer, 0, host);
  serial.reset();
  host.irqs.length = 0;
  return {
    host,
    serial,
    buffer,
    read: (register: number) => serial.pioRead(0x3f8 + register, 1),
    write: (register: number, value: number) => serial.pioWrite(0x3f8 + register, 1, value),
    drain: () => {
      const target = new Uint8Array(Serial16550.txCapacity);
      return Buffer.from(target.subarray(0, serial.drainTx(target))).toString('latin1');
    },
  };
}

t.test('what is written to THR comes out of the ring, and the host is told once', async (t) => {
  const { host, write, drain, read } = make();
  t.equal(read(LSR), 0x60);
  for (const c of 'hello') write(THR, c.charCodeAt(0));
  t.equal(host.serialActivities, 1);
  t.equal(drain(), 'hello');
  write(THR, 0x21);
  t.equal(host.serialActivities, 2);
  t.equal(drain(), '!');
  t.equal(host.irqs.length, 0, 'no interrupt is enabled');
});

t.test('the divisor latch hides THR and IER while DLAB is set', async (t) => {
  const { read, write, drain } = make();
  write(LCR, 0x83);
  t.equal(read(0), 12);
  write(0, 0x34);
  write(1, 0x12);
  t.equal(read(0), 0x34);
  t.equal(read(1), 0x12);
  write(LCR, 0x03);
  t.equal(read(IER), 0);
  t.equal(drain(), '');
});

t.test("Linux's autoconfig recognises a 16550A", async (t) => {
  const { read, write } = make();
  // drivers/tty/serial/8250/8250_port.c, autoconfig()
  write(IER, 0);
  t.equal(read(IER) & 0x0f, 0);
  write(IER, 0x0f);
  t.equal(read(IER) & 0x0f, 0x0f);
  write(IER, 0);
  const mcr = read(MCR);
  write(MCR, 0x10 | 0x0a);
  t.equal(read(MSR) & 0xf0, 0x90, 'loopback wires OUT2 to DCD and RTS to CTS');
  write(MCR, mcr);
  write(LCR, 0xbf);
  write(2, 0);
  write(LCR, 0);
  write(FCR, 1);
  t.equal(read(IIR) >> 6, 3, '16550A');
  // autoconfig_16550a(): no EFR, no IER.UUE
  write(LCR, 0x80);
  t.not(read(2), 0);
  write(LCR, 0);
  write(IER, 0x40);
  t.equal(read(IER) & 0x40, 0);
  // size_fifo(): sixteen bytes
  write(LCR, 0);
  write(FCR, 0x07);
  write(MCR, 0x10);
  for (let i = 0; i < 256; i++) write(THR, i);
  let count = 0;
  for (; (read(LSR) & 1) !== 0 && count < 256; count++) t.equal(read(RBR), count);
  t.equal(count, 16);
  write(FCR, 0);
});

t.test("Linux's tests for broken THRE and TXEN pass", async (t) => {
  const { read, write } = make();
  // serial8250_THRE_test()
  write(IER, 2);
  t.equal(read(IIR) & 0x0f, 0x02);
  write(IER, 0);
  write(IER, 2);
  t.equal(read(IIR) & 0x0f, 0x02, 'enabling again raises it again');
  write(IER, 0);
  // serial8250_do_startup(): UART_BUG_TXEN
  write(IER, 2);
  t.equal(read(LSR) & 0x40, 0x40);
  t.equal(read(IIR) & 1, 0);
  t.equal(read(IIR) & 1, 1, 'reading it once acknowledges it');
});

t.test('the transmitter interrupt has an edge for each byte, cleared by reading IIR', async (t) => {
  const { host, read, write } = make();
  write(IER, 2);
  t.same(host.irqs, ['4=1']);
  read(IIR);
  t.same(host.irqs, ['4=1', '4=0']);
  write(THR, 1);
  t.same(host.irqs.splice(0), ['4=1', '4=0', '4=1']);
  write(THR, 2);
  t.same(host.irqs.splice(0), ['4=0', '4=1'], 'an edge even though nobody read IIR');
  write(IER, 0);
  t.same(host.irqs.splice(0), ['4=0']);
  read(LSR);
  write(SCR, 1);
  t.same(host.irqs, [], 'the line is only touched when it changes');
});

t.test('interrupts are identified in the order of their priority', async (t) => {
  const { host, serial, read, write } = make();
  write(FCR, 0x01); // trigger level 1
  write(IER, 0x0f);
  write(MCR, 0x10);
  write(MCR, 0x12); // a delta in MSR
  for (let i = 0; i < 17; i++) write(THR, i); // one too many
  t.equal(read(IIR), 0xc6, 'line status');
  t.equal(read(LSR), 0x63, 'overrun, data ready');
  t.equal(read(LSR), 0x61, 'reading clears the overrun');
  t.equal(read(IIR), 0xc4, 'received data');
  write(FCR, 0x03); // clears the FIFO
  t.equal(read(IIR), 0xc2, 'transmitter');
  t.equal(read(IIR), 0xc0, 'modem status');
  t.equal(host.level(IRQ), 1);
  t.not(read(MSR) & 0x0f, 0);
  t.equal(read(IIR), 0xc1, 'none');
  t.equal(host.level(IRQ), 0);
  t.equal(serial.receive(Buffer.from('x')), 0, 'nothing is received from outside in loopback');
});

t.test('input raises an interrupt, as time-out below the trigger level', async (t) => {
  const { host, serial, read, write } = make();
  write(FCR, 0xc1); // trigger level 14
  write(IER, 1);
  t.equal(serial.receive(Buffer.from('ab')), 2);
  t.equal(host.level(IRQ), 1);
  t.equal(read(IIR), 0xcc);
  t.equal(serial.receive(Buffer.from('cdefghijklmno')), 13);
  t.equal(read(IIR), 0xc4);
  let text = '';
  while ((read(LSR) & 1) !== 0) text += String.fromCharCode(read(RBR));
  t.equal(text, 'abcdefghijklmno');
  t.equal(read(IIR), 0xc1);
  t.equal(host.level(IRQ), 0);
  t.equal(read(RBR), 0, 'an empty receiver reads as 0');
});

t.test('input that does not fit is asked for again once the guest has read what was there', async (t) => {
  const { host, serial, read, write } = make();
  t.equal(serial.receive(Buffer.from('ab')), 1, 'one byte without FIFO');
  t.equal(host.serialActivities, 0);
  t.equal(read(RBR), 0x61);
  t.equal(host.serialActivities, 1);
  read(RBR);
  t.equal(host.serialActivities, 1, 'once only');
  write(FCR, 1);
  t.equal(serial.receive(Buffer.alloc(20)), 16);
  write(FCR, 3);
  t.equal(host.serialActivities, 2, 'clearing the FIFO makes room too');
  write(MCR, 0x10);
  t.equal(serial.receive(Buffer.from('z')), 0);
  t.equal(host.serialActivities, 2);
  write(MCR, 0);
  t.equal(host.serialActivities, 3, 'and so does leaving loopback');
});

t.test('while the ring has no room for a FIFO, THRE is low, and draining raises the interrupt', async (t) => {
  const { host, serial, read, write, drain } = make();
  write(FCR, 1);
  write(IER, 2);
  let written = 0;
  while ((read(LSR) & 0x20) !== 0) {
    write(THR, written++ & 0x7f);
  }
  t.equal(written, Serial16550.txCapacity - 15);
  t.equal(read(LSR) & 0x60, 0);
  t.equal(read(IIR), 0xc1);
  t.equal(host.level(IRQ), 0);
  const some = new Uint8Array(1);
  t.equal(serial.drainTx(some), 1);
  t.equal(read(LSR) & 0x60, 0x60);
  t.equal(host.level(IRQ), 1, 'the drain raised it');
  t.equal(read(IIR), 0xc2);
  for (let i = 0; i < 20; i++) write(THR, 0x2e);
  t.equal(serial.save().txDropped, 4, 'what is written into a full ring is lost and counted');
  t.equal(drain().length, Serial16550.txCapacity);
});

t.test('reset brings back the power-on registers and keeps the output', async (t) => {
  const { host, serial, read, write, drain } = make();
  write(THR, 0x41);
  write(LCR, 0x83);
  write(0, 1);
  write(LCR, 3);
  write(IER, 0x0f);
  write(MCR, 0x0b);
  write(SCR, 0x55);
  serial.receive(Buffer.from('q'));
  serial.reset();
  t.equal(host.level(IRQ), 0);
  t.same([IER, IIR, LCR, MCR, LSR, MSR, SCR].map(read), [0, 1, 0, 0, 0x60, 0xb0, 0]);
  t.equal(drain(), 'A');
});

t.test(
  'no sequence of accesses throws or gives a value out of range, and the line always agrees with IIR',
  async () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            kind: fc.constantFrom('read', 'write', 'receive', 'drain', 'reset'),
            register: fc.nat({ max: 7 }),
            value: fc.oneof(fc.nat({ max: 255 }), fc.nat()),
          }),
          { maxLength: 60 },
        ),
        (steps) => {
          const { host, serial, read, write, drain } = make();
          for (const { kind, register, value } of steps) {
            if (kind === 'write') write(register, value);
            else if (kind === 'receive') serial.receive(new Uint8Array(value % 40));
            else if (kind === 'drain') drain();
            else if (kind === 'reset' && value % 8 === 0) serial.reset();
            const got = read(register);
            if (!Number.isInteger(got) || got < 0 || got > 255) return false;
            const saved = serial.save();
            if ((saved.rxCount as number) > 16) return false;
            const before = host.level(IRQ);
            serial.reassertIrq();
            if (host.level(IRQ) !== before) return false;
          }
          const line = host.level(IRQ);
          return ((read(IIR) & 1) === 0 ? 1 : 0) === line;
        },
      ),
    );
  },
);

t.test('a saved port goes on elsewhere exactly where it was', async () => {
  const access = fc.record({ register: fc.nat({ max: 7 }), value: fc.nat({ max: 255 }), write: fc.boolean() });
  fc.assert(
    fc.property(fc.array(access), fc.uint8Array({ maxLength: 20 }), fc.array(access), (before, input, after) => {
      const a = make();
      for (const { register, value, write } of before) {
        if (write) a.write(register, value);
        else a.read(register);
      }
      a.serial.receive(input);
      const b = make();
      b.serial.load(JSON.parse(JSON.stringify(a.serial.save())));
      b.serial.reassertIrq();
      if (b.host.level(IRQ) !== a.host.level(IRQ)) return false;
      for (const { register, value, write } of after) {
        if (write) {
          a.write(register, value);
          b.write(register, value);
        }
        if (a.read(register) !== b.read(register) || a.host.level(IRQ) !== b.host.level(IRQ)) return false;
      }
      return a.drain() === b.drain();
    }),
  );
});

t.test('output that nobody drained is part of the saved state, and the host is told of it after loading', async (t) => {
  const a = make();
  for (const c of 'left') a.write(THR, c.charCodeAt(0));
  const saved = a.serial.save();
  t.equal(saved.tx, '6c656674');
  const b = make();
  b.serial.load(saved);
  t.equal(b.host.serialActivities, 1);
  t.equal(b.drain(), 'left');
  t.equal(a.drain(), 'left', 'saving takes nothing away');
});

t.test('a hostile document is refused and changes nothing', async (t) => {
  const { serial } = make();
  const saved = serial.save();
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ rxCount: 17 }, /serial0: rxCount is 17/],
    [{ rxHead: 16 }, /serial0: rxHead is 16/],
    [{ ier: 0x10 }, /serial0: ier is 16/],
    [{ tx: 'abc' }, /serial0: tx is not a hexadecimal string/],
    [{ tx: 'zz' }, /tx is not/],
    [{ tx: '00'.repeat(Serial16550.txCapacity + 1) }, /tx is not/],
    [{ tx: undefined }, /tx is not/],
    [{ tx: ['00'] }, /tx is not/],
    [{ version: 2 }, /version is 2/],
    [{ rxFifo: [] }, /rxFifo is not an array of 16/],
  ];
  for (const [change, message] of cases) {
    t.throws(() => serial.load({ ...saved, ...change }), { name: 'DeviceStateError', message });
  }
  for (const doc of [null, undefined, 3, [], 'x']) t.throws(() => serial.load(doc), DeviceStateError);
  t.same(serial.save(), saved);
  serial.load({ ...saved, tx: 'ff'.repeat(Serial16550.txCapacity) });
  t.equal(serial.txPending, Serial16550.txCapacity);
  t.equal(serial.pioRead(0x3fd, 1) & 0x20, 0, 'a full ring holds the transmitter back');
});
