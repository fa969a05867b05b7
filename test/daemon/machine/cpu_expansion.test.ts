/** CPU models as query-cpu-definitions and query-cpu-model-expansion tell them. */
import t from 'tap';
import { cpuDefinitions, expandCpuModel } from '../../../daemon/machine/cpu_expansion.js';
import type { KvmCpuidEntry } from '../../../kvm/structs.js';
import { QmpError } from '../../../protocol/qmp_errors.js';
import type { CpuModelInfo } from '../../../schemas/generated/qmp.js';
import { answer } from '../../helpers/answers.js';
import { DaemonProcess, MACHINE_NONE, MACHINE_PC, QMP_SOCKET } from '../../helpers/daemon.js';
import { noKvm } from '../../helpers/daemons.js';
import { noQemu72, startQemu } from '../../helpers/qemu.js';

const leaf = (fn: number, eax: number, ebx = 0, ecx = 0, edx = 0): KvmCpuidEntry => ({
  ...{ function: fn, index: 0, flags: 0 },
  ...{ eax, ebx, ecx, edx },
});

/** A host with `sse` and `avx`, and little else. */
const HOST: readonly KvmCpuidEntry[] = [
  leaf(0, 0xd, 0x68747541, 0x444d4163, 0x69746e65),
  leaf(1, 0x00a10f11, 0, 1 << 28, 1 << 25),
  leaf(0x80000000, 0x80000008),
];

const props = (model: CpuModelInfo) => model.props as Record<string, unknown>;

function refusal(model: CpuModelInfo, host: readonly KvmCpuidEntry[] | null = HOST): string {
  try {
    expandCpuModel('full', model, host ?? undefined);
    return 'none';
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    return error.desc;
  }
}

t.test('a static expansion describes a model by base, a full one by its own name', async (t) => {
  const fixed = expandCpuModel('static', { name: 'host' }, HOST);
  t.equal(fixed.name, 'base');
  t.match(props(fixed), {
    ...{ sse: true, avx: true, sse2: false },
    ...{ vendor: 'AuthenticAMD', family: 25, model: 17, stepping: 1, 'min-level': 13, 'min-xlevel': 0x80000008 },
  });
  t.notOk('level' in props(fixed));
  const full = expandCpuModel('full', { name: 'host' }, HOST);
  t.equal(full.name, 'host');
  t.match(props(full), { sse: true, level: 13, xlevel: 0x80000008 });
  const again = expandCpuModel('full', { name: 'base', props: toWire(fixed) }, HOST);
  t.match(props(again), props(fixed), 'what a static expansion tells can be asked for');
});

/** Properties as they are read from a socket: integers are bigint. */
function toWire(model: CpuModelInfo): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(props(model)).map(([name, value]) => [name, typeof value === 'number' ? BigInt(value) : value]),
  );
}

t.test('properties change a model, as far as the host goes along', async (t) => {
  const asked = { avx: false, 'sse4-1': true, migratable: true };
  t.match(props(expandCpuModel('full', { name: 'host', props: asked }, HOST)), {
    avx: false,
    'sse4.1': false,
    sse: true,
  });
  t.match(props(expandCpuModel('full', { name: 'base', props: { 'sse4-1': true } }, undefined)), { 'sse4.1': true });
});

t.test('what is no model, no property or of another type is refused in QEMU’s words', async (t) => {
  t.equal(refusal({ name: 'nope' }), "CPU model 'nope' not found");
  t.equal(refusal({ name: 'base', props: { nope: 1n } }), "Property 'base-x86_64-cpu.nope' not found");
  t.equal(refusal({ name: 'host', props: { constructor: true } }), "Property 'host-x86_64-cpu.constructor' not found");
  t.equal(refusal({ name: 'base', props: { sse: 1n } }), "Invalid parameter type for 'sse', expected: boolean");
  t.equal(refusal({ name: 'base', props: { vendor: 1n } }), "Invalid parameter type for 'vendor', expected: string");
  t.equal(refusal({ name: 'base', props: { family: 1.5 } }), "Invalid parameter type for 'family', expected: integer");
  t.equal(refusal({ name: 'host' }, null), "CPU model 'host' requires KVM, which cannot be used here");
});

t.test('a model tells what of it the host lacks', async (t) => {
  const find = (name: string, host?: readonly KvmCpuidEntry[]) => {
    const { 'unavailable-features': lacking = [], ...model } = cpuDefinitions(host).find((each) => each.name === name)!;
    return { lacking, ...model };
  };
  t.match(find('host', HOST), { lacking: [], 'migration-safe': false, static: false, typename: 'host-x86_64-cpu' });
  const { lacking, ...qemu64 } = find('qemu64', HOST);
  t.match(qemu64, { 'migration-safe': true, typename: 'qemu64-x86_64-cpu' });
  t.ok(lacking.includes('sse2') && !lacking.includes('sse') && !lacking.includes('avx'));
  t.same(find('host').lacking, ['kvm'], 'without KVM there is none');
});

t.test('the default CPU of the machine is a model that -cpu takes', { skip: noKvm() }, async (t) => {
  const client = await new DaemonProcess(t, [...MACHINE_NONE, ...QMP_SOCKET]).qmp();
  t.teardown(() => client.close());
  const types = (await client.execute('query-cpu-definitions')).map(({ typename }) => typename);
  const [machine] = (await client.execute('query-machines')).filter((each) => each['is-default']);
  t.ok(types.includes(machine?.['default-cpu-type'] as string));
  const listed = await client.execute('qom-list-types', { implements: 'cpu' });
  t.same(listed.map(({ name }) => name).sort(), types.sort());
});

t.test('QEMU knows each property and refuses the same', { skip: noQemu72() || noKvm() }, async (t) => {
  const ours = await new DaemonProcess(t, [...MACHINE_PC, ...QMP_SOCKET]).qmp();
  t.teardown(() => ours.close());
  const theirs = await startQemu(t, MACHINE_PC);
  const command = 'query-cpu-model-expansion';
  const lists = await Promise.all([ours, theirs].map((client) => client.execute('query-cpu-definitions')));
  for (const { name, ...model } of lists[0] ?? []) {
    // QEMU tells its unversioned names as aliases.
    t.match(
      lists[1]?.find((other) => other.name === name),
      model,
      name,
    );
    for (const type of ['static', 'full'] as const) {
      const [here, there] = await Promise.all(
        [ours, theirs].map((client) => client.execute(command, { type, model: { name } })),
      );
      t.equal(here?.model.name, there?.model.name);
      const known = Object.keys(props(there?.model as CpuModelInfo));
      t.same(
        Object.keys(props(here?.model as CpuModelInfo)).filter((property) => !known.includes(property)),
        [],
      );
    }
  }
  for (const model of [
    { name: 'nope' },
    { name: 'base', props: { nope: 1 } },
    { name: 'base', props: { sse: 1 } },
    { name: 'base', props: { family: 'x' } },
    { name: 1 },
    {},
  ]) {
    const args = { type: 'full', model };
    t.same(await answer(ours, command, args), await answer(theirs, command, args), JSON.stringify(model));
  }
});
