import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { CAP, type CapName } from '../../kvm/abi.js';
import { check, errnoName, MissingCapabilityError, SysError, strerror } from '../../kvm/errors.js';
import { Kvm, requireCapabilities } from '../../kvm/kvm.js';
import { MIB, noKvm, openDescriptors, TinyVm } from '../helpers/kvm.js';

t.test('a KVM device that is not there, is none, or may not be opened is refused with path, call and cause', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-kvm-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const before = openDescriptors();
  const missing = join(dir, 'kvm');
  t.throws(() => Kvm.open(missing), {
    name: 'SysError',
    syscall: 'open',
    code: 'ENOENT',
    message: `${missing}: open failed: No such file or directory (ENOENT)`,
  });
  t.throws(() => Kvm.open(dir), { code: 'EISDIR' });
  t.throws(() => Kvm.open('/dev/null'), {
    syscall: 'KVM_GET_API_VERSION',
    code: 'ENOTTY',
    message: /^\/dev\/null: KVM_GET_API_VERSION failed: /,
  });
  t.strictSame(openDescriptors(), before, 'nothing is left open');
  t.end();
});

t.test('the first capability that is missing is named with what it is needed for', (t) => {
  t.doesNotThrow(() => requireCapabilities(() => 1));
  const required = new Set<CapName>();
  requireCapabilities((name) => {
    required.add(name);
    return 1;
  });
  t.ok(required.size >= 15);
  for (const missing of required) {
    t.throws(() => requireCapabilities((name) => (name === missing ? 0 : 1)), {
      name: 'MissingCapabilityError',
      capability: missing,
      message: new RegExp(`^this host's KVM lacks ${missing}, needed (to|for) `),
    });
  }
  t.equal(
    new MissingCapabilityError('KVM_CAP_IRQFD', 'to raise interrupts by eventfd').message,
    "this host's KVM lacks KVM_CAP_IRQFD, needed to raise interrupts by eventfd",
  );
  t.end();
});

t.test('a failed call tells what was done to what, and an errno without a name is a number', (t) => {
  t.equal(check('close', 0), 0);
  t.equal(check('read', 17), 17);
  t.throws(() => check('KVM_CREATE_VCPU', -17, 'vCPU 3'), {
    errno: 17,
    code: 'EEXIST',
    message: 'vCPU 3: KVM_CREATE_VCPU failed: File exists (EEXIST)',
  });
  t.equal(new SysError('ioctl', 999).message, 'ioctl failed: Unknown error 999 (errno 999)');
  t.equal(errnoName(11), 'EAGAIN');
  t.equal(errnoName(95), 'EOPNOTSUPP');
  t.equal(strerror(2), 'No such file or directory');
  t.end();
});

t.test('KVM tells its capabilities, CPUID, MSRs and the size of a vCPU', { skip: noKvm() }, (t) => {
  const before = openDescriptors();
  {
    using kvm = Kvm.open();
    for (const name of Object.keys(CAP) as CapName[]) t.ok(kvm.capability(name) >= 0, name);
    t.ok(kvm.vcpuMmapSize() >= 4096 + 4096);
    t.ok(kvm.supportedCpuid().some((leaf) => leaf.function === 0 && leaf.eax > 0));
    t.ok(kvm.msrIndexList().includes(0x10), 'the TSC is among the MSRs');
    kvm[Symbol.dispose]();
  }
  t.strictSame(openDescriptors(), before);
  t.end();
});

t.test(
  'a VM with RAM, chips and two vCPUs gives back every descriptor and mapping, also twice',
  { skip: noKvm() },
  (t) => {
    const before = openDescriptors();
    for (let i = 0; i < 3; i++) {
      const tiny = new TinyVm(8 * MIB);
      tiny.addVcpu(1);
      t.throws(() => tiny.vm.createVcpu(1), { code: 'EEXIST', message: /^vCPU 1: KVM_CREATE_VCPU failed/ });
      t.not(openDescriptors().length, before.length);
      tiny[Symbol.dispose]();
      tiny[Symbol.dispose]();
      tiny.vcpu[Symbol.dispose]();
      tiny.vm[Symbol.dispose]();
      tiny.ram[Symbol.dispose]();
    }
    t.strictSame(openDescriptors(), before);
    t.end();
  },
);
