import t from 'tap';
import { AcpiPm } from '../../../daemon/devices/acpi_pm.js';
import { FakeHost } from './fake_host.js';

const [STATUS, ENABLE, CONTROL] = [0x600, 0x602, 0x604];
const PWRBTN = 0x100;

function make() {
  const host = new FakeHost();
  const pm = new AcpiPm(new SharedArrayBuffer(AcpiPm.byteLength), 0, host);
  pm.reset();
  return { host, pm };
}

t.test('SLP_EN sends the guest to sleep, to the state of the type, in one write or byte by byte', (t) => {
  const { host, pm } = make();
  pm.pioWrite(CONTROL, 2, 0x2000);
  pm.pioWrite(CONTROL + 1, 1, 0x20);
  pm.pioWrite(CONTROL, 2, 0x2400);
  pm.pioWrite(CONTROL, 2, 0x2800);
  t.same(host.sleeps, ['S5', 'S5', 'S3', 'S4']);
  t.equal(pm.pioRead(CONTROL, 2), 0x0800, 'SLP_EN reads as zero');
  pm.pioWrite(CONTROL, 2, 0x0001);
  pm.pioWrite(CONTROL, 2, 0x3c00);
  t.equal(host.sleeps.length, 4, 'neither without SLP_EN nor with another type');
  t.end();
});

t.test('the power button interrupts a guest that enabled it, until it writes the status', (t) => {
  const { host, pm } = make();
  pm.pressPowerButton();
  t.equal(pm.pioRead(STATUS, 2), 0, 'nothing is seen by a guest that did not');
  pm.pioWrite(ENABLE, 2, PWRBTN);
  pm.pressPowerButton();
  t.equal(pm.pioRead(STATUS, 2), PWRBTN);
  t.equal(pm.pioRead(STATUS + 1, 1), 1);
  t.equal(host.level(9), 1);
  pm.pioWrite(ENABLE + 1, 1, 0);
  t.equal(host.level(9), 0);
  pm.pioWrite(ENABLE + 1, 1, 1);
  t.equal(host.level(9), 1);
  pm.pioWrite(STATUS, 2, PWRBTN);
  t.equal(host.level(9), 0);
  t.equal(pm.pioRead(STATUS, 2), 0);
  pm.pressPowerButton();
  pm.reset();
  t.same([pm.pioRead(STATUS, 2), pm.pioRead(ENABLE, 2), host.level(9)], [0, 0, 0]);
  t.end();
});

t.test('an access that lies across two registers reaches both', (t) => {
  const { pm } = make();
  pm.pioWrite(ENABLE + 1, 2, 0x3401);
  t.same([pm.pioRead(ENABLE, 2), pm.pioRead(CONTROL, 2), pm.pioRead(ENABLE + 1, 2)], [0x100, 0x34, 0x3401]);
  t.end();
});

t.test('a pressed button that was not served yet travels, and its line with it', (t) => {
  const { pm } = make();
  pm.pioWrite(ENABLE, 2, PWRBTN);
  pm.pressPowerButton();
  const other = make();
  other.pm.load(pm.save());
  t.equal(other.host.level(9), 0);
  other.pm.reassertIrq();
  t.equal(other.host.level(9), 1);
  t.equal(other.pm.pioRead(STATUS, 2), PWRBTN);
  t.end();
});
