import t from 'tap';
import * as libc from '../../kvm/libc_unsafe.js';
import { closeFd } from '../../kvm/memory.js';
import { ASM, MIB, noKvm, openDescriptors, TinyVm } from '../helpers/kvm.js';

const skip = noKvm();
const EFD_NONBLOCK = 0o4000;
const EAGAIN = 11;

function eventfd(t: { teardown(fn: () => void): unknown }): number {
  const fd = libc.eventfd(0, EFD_NONBLOCK);
  t.teardown(() => closeFd(fd));
  return fd;
}

function signal(fd: number): void {
  const one = new DataView(new ArrayBuffer(8));
  one.setBigUint64(0, 1n, true);
  if (libc.write(fd, one) !== 8) throw new Error('the eventfd does not take a count');
}

/** The count of an eventfd, which is 0 from then on. */
function count(fd: number): bigint {
  const out = new DataView(new ArrayBuffer(8));
  const rc = libc.read(fd, out);
  return rc === -EAGAIN ? 0n : out.getBigUint64(0, true);
}

t.test('interrupt controllers, timer and clock of one VM are loaded into another', { skip }, (t) => {
  using one = new TinyVm(4 * MIB);
  using two = new TinyVm(4 * MIB);
  // The guest programs both PICs and channel 2 of the PIT (whose gate is shut, so that it stands still).
  const out = (port: number, value: number) => [0xb0, value, 0xe6, port];
  one.load([
    ...[out(0x20, 0x11), out(0x21, 0x40), out(0x21, 0x04), out(0x21, 0x01), out(0x21, 0xfa)].flat(),
    ...[out(0xa0, 0x11), out(0xa1, 0x48), out(0xa1, 0x02), out(0xa1, 0x01), out(0xa1, 0xef)].flat(),
    ...[out(0x43, 0xb6), out(0x42, 0x34), out(0x42, 0x12)].flat(),
    ...ASM.exit,
  ]);
  one.runToExit();
  one.vm.setClock(123_456_789_000_000n);
  const saved = one.vm.saveState();
  saved.ioapic.redirtbl[4] = 0x0300_0000_0001_0034n;
  t.equal(saved.pic_master.irq_base, 0x40);
  t.equal(saved.pic_slave.irq_base, 0x48);
  t.equal(saved.pic_master.imr, 0xfa);
  t.equal(saved.pit2.channels[2]?.count, 0x1234);
  two.vm.loadState(saved);
  const loaded = two.vm.saveState();
  t.strictSame(loaded.pic_master, saved.pic_master);
  t.strictSame(loaded.pic_slave, saved.pic_slave);
  t.strictSame(loaded.ioapic, saved.ioapic);
  t.match(loaded.pit2.channels[2], { count: 0x1234, mode: 3, gate: saved.pit2.channels[2]?.gate });
  t.ok(loaded.clock >= saved.clock && loaded.clock < saved.clock + 10_000_000_000n, 'and the clock goes on from there');
  t.end();
});

t.test(
  'a line that is raised, and an eventfd that is written, are seen by the interrupt controllers',
  { skip },
  (t) => {
    using tiny = new TinyVm(4 * MIB);
    const irr = () => ({
      pic: tiny.vm.saveState().pic_master.irr & 0x38,
      ioapic: tiny.vm.saveState().ioapic.irr & 0x38,
    });
    t.strictSame(irr(), { pic: 0, ioapic: 0 });
    tiny.vm.irqLine(4, 1);
    t.strictSame(irr(), { pic: 0x10, ioapic: 0x10 });
    tiny.vm.irqLine(4, 0);

    const fd = eventfd(t);
    tiny.vm.irqfd(fd, 3);
    signal(fd);
    // The edge is raised by the eventfd's own wake-up or by the kernel's work queue, at once or shortly after.
    const until = Date.now() + 5000;
    while ((tiny.vm.saveState().pic_master.last_irr | tiny.vm.saveState().pic_master.irr) === 0 && Date.now() < until);
    t.equal(count(fd), 0n, 'KVM has taken the count');
    tiny.vm.irqfd(fd, 3, false);
    signal(fd);
    t.equal(count(fd), 1n, 'an eventfd that is unbound keeps its count');
    t.throws(() => tiny.vm.irqfd(9999, 3), { syscall: 'KVM_IRQFD', message: /^GSI 3: / });
    t.end();
  },
);

t.test("a guest's OUT counts on an eventfd without an exit, where port, length and value fit", { skip }, (t) => {
  using tiny = new TinyVm(4 * MIB);
  const other = eventfd(t);
  const seven = eventfd(t);
  tiny.vm.ioeventfd({ space: 'pio', address: 0x1c, length: 1, eventfd: other, match: 5n });
  const out = (value: number) => [0xb0, value, 0xe6, 0x1c];
  tiny.vm.ioeventfd({ space: 'pio', address: 0x1c, length: 1, eventfd: seven, match: 7n });
  tiny.load([...out(7), ...out(5), ...out(7), ...ASM.exit]);
  tiny.runToExit();
  t.equal(count(seven), 2n);
  t.equal(count(other), 1n, 'each value counts on its own');
  tiny.load([...out(8), ...ASM.exit]);
  t.throws(() => tiny.runToExit(), { message: /port 0x1c/ }, 'another value leaves the guest');
  tiny.vm.ioeventfd({ space: 'pio', address: 0x1c, length: 1, eventfd: seven, match: 7n }, false);
  tiny.load([...out(7), ...ASM.exit]);
  t.throws(() => tiny.runToExit(), { message: /port 0x1c/ }, 'and so does every one when it is unbound');
  t.equal(count(seven), 0n);
  t.throws(() => tiny.vm.ioeventfd({ space: 'pio', address: 0x30, length: 3, eventfd: other }), {
    syscall: 'KVM_IOEVENTFD',
    code: 'EINVAL',
    message: /^0x30: /,
  });
  t.end();
});

t.test("a guest's store to an MMIO doorbell counts on an eventfd", { skip }, (t) => {
  using tiny = new TinyVm(4 * MIB);
  const fd = eventfd(t);
  tiny.vm.ioeventfd({ space: 'mmio', address: 0xd0000000, length: 8, eventfd: fd });
  tiny.load([...ASM.store, ...ASM.exit], { rdi: 0xd0000000n });
  tiny.runToExit();
  t.equal(count(fd), 1n);
  t.end();
});

t.test('a VM whose eventfds are bound closes cleanly', { skip }, (t) => {
  const before = openDescriptors();
  {
    using tiny = new TinyVm(4 * MIB);
    const fd = libc.eventfd(0, EFD_NONBLOCK);
    tiny.vm.irqfd(fd, 5);
    tiny.vm.ioeventfd({ space: 'pio', address: 0x40c, length: 2, eventfd: fd });
    closeFd(fd);
  }
  t.strictSame(openDescriptors(), before);
  t.end();
});
