import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { LayoutError, type Struct } from '../../kvm/layout.js';
import { vcpuStateFromJson, vcpuStateToJson, vmStateFromJson, vmStateToJson } from '../../kvm/state_json.js';
import * as structs from '../../kvm/structs.js';
import type { VcpuState } from '../../kvm/vcpu.js';
import type { VmState } from '../../kvm/vm.js';

function any<T>(s: Struct<T>): fc.Arbitrary<T> {
  return fc.uint8Array({ minLength: s.size, maxLength: s.size }).map((b) => s.decode(new DataView(b.slice().buffer)));
}
const u32 = fc.nat(0xffffffff);
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const vcpuState: fc.Arbitrary<VcpuState> = fc.record(
  {
    regs: any(structs.kvmRegs),
    sregs: fc.oneof(any(structs.kvmSregs), any(structs.kvmSregs2)),
    xsave: fc.uint8Array({ minLength: 4096, maxLength: 4096 }),
    xcrs: any(structs.kvmXcrs),
    debugregs: any(structs.kvmDebugregs),
    msrs: fc.array(fc.tuple(u32, u64), { maxLength: 5 }) as fc.Arbitrary<[number, bigint][]>,
    events: any(structs.kvmVcpuEvents),
    mp_state: u32,
    lapic: fc.uint8Array({ minLength: 1024, maxLength: 1024 }),
    cpuid: fc.array(any(structs.kvmCpuidEntry), { maxLength: 4 }),
    tsc_khz: u32,
  },
  { noNullPrototype: true },
);
const vmState: fc.Arbitrary<VmState> = fc.record(
  {
    pic_master: any(structs.kvmPicState),
    pic_slave: any(structs.kvmPicState),
    ioapic: any(structs.kvmIoapicState),
    pit2: any(structs.kvmPitState2),
    clock: u64,
  },
  { noNullPrototype: true },
);

t.test('states come back whole from their JSON text', (t) => {
  fc.assert(
    fc.property(vcpuState, (state) => {
      assert.deepEqual(vcpuStateFromJson(JSON.parse(JSON.stringify(vcpuStateToJson(state))), 'vcpu-0'), state);
    }),
    { numRuns: 10 },
  );
  fc.assert(
    fc.property(vmState, (state) => {
      assert.deepEqual(vmStateFromJson(JSON.parse(JSON.stringify(vmStateToJson(state))), 'vm'), state);
    }),
    { numRuns: 10 },
  );
  t.end();
});

t.test('a state without one of its members, or with a wrong one, is refused by the name of the member', (t) => {
  const vcpu = vcpuStateToJson(fc.sample(vcpuState, { numRuns: 1, seed: 1 })[0] as VcpuState);
  const vm = vmStateToJson(fc.sample(vmState, { numRuns: 1, seed: 1 })[0] as VmState);
  const readers = { 'vcpu-1': [vcpu, vcpuStateFromJson], vm: [vm, vmStateFromJson] } as const;
  for (const [path, [good, read]] of Object.entries(readers)) {
    for (const member of Object.keys(good)) {
      for (const bad of [undefined, null, -1, 'zz', [null]]) {
        assert.throws(
          () => read({ ...good, [member]: bad }, path),
          (e: unknown) => e instanceof LayoutError && e.message.startsWith(`${path}.${member.replace(/2$/, '')}`),
        );
      }
    }
    t.throws(() => read('text', path), LayoutError);
  }
  t.end();
});

t.test('lists and images beyond what a vCPU can have are refused', (t) => {
  const good = vcpuStateToJson(fc.sample(vcpuState, { numRuns: 1, seed: 2 })[0] as VcpuState);
  const refusal = (member: string, value: unknown) => {
    try {
      vcpuStateFromJson({ ...good, [member]: value }, 'v');
      return 'none';
    } catch (error) {
      return (error as Error).message.split(',')[0];
    }
  };
  t.equal(refusal('msrs', new Array(1025).fill([1, '0x1'])), 'v.msrs must be a list of at most 1024 elements');
  t.equal(refusal('msrs', [[1]]), 'v.msrs[0] must be an index and a value');
  t.equal(refusal('cpuid', new Array(257).fill({})), 'v.cpuid must be a list of at most 256 elements');
  t.equal(refusal('xsave', Buffer.alloc(65537).toString('base64')), 'v.xsave must be 4096 to 65536 bytes in base64');
  t.equal(refusal('xsave', Buffer.alloc(4095).toString('base64')), 'v.xsave must be 4096 to 65536 bytes in base64');
  t.equal(refusal('lapic', Buffer.alloc(1023).toString('base64')), 'v.lapic must be 1024 bytes in base64');
  t.end();
});
