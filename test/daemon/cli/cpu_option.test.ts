import t from 'tap';
import { parseCpu } from '../../../daemon/cli/cpu_option.js';
import { UsageError } from '../../../daemon/cli/values.js';

const refusal = (text: string): string | undefined => {
  try {
    parseCpu(text);
    return undefined;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return error.message;
  }
};
const features = (text: string) => Object.fromEntries(parseCpu(text).features);

t.test('features are added and taken away, under all their names', (t) => {
  t.same(features('qemu64,-svm'), { svm: false });
  t.same(features('kvm64,+sse4_1,lahf_lm,sse3=off,xd=on'), { 'sse4.1': true, 'lahf-lm': true, pni: false, nx: true });
  t.same(features('host,+vmx,vmx=off'), { vmx: true }, 'a sign counts more than an assignment');
  t.same(features('host,-vmx,+vmx,-svm,svm=on'), { vmx: false, svm: false }, 'and of signs the minus');
  t.same(features('host,migratable=on,host-phys-bits=off'), {}, 'some properties change nothing');
  t.match(parseCpu('max,enforce,check=off'), { model: 'max', enforce: true, check: false });
  t.end();
});

t.test('what is not known is refused in QEMU’s words', (t) => {
  t.equal(refusal(''), '-cpu option cannot be empty');
  t.equal(refusal('nope'), "unable to find CPU model 'nope'");
  t.equal(refusal('qemu64,+foo'), "Property 'qemu64-x86_64-cpu.foo' not found");
  t.equal(refusal('host,-nope'), "Property 'host-x86_64-cpu.nope' not found");
  const global = "can't apply global qemu64-x86_64-cpu.foo=on: Property 'qemu64-x86_64-cpu.foo' not found";
  t.equal(refusal('qemu64,foo=on'), global);
  t.equal(refusal('qemu64,foo'), global);
  t.equal(
    refusal('qemu64,svm=maybe'),
    "can't apply global qemu64-x86_64-cpu.svm=maybe: Parameter 'svm' expects 'on' or 'off'",
  );
  t.end();
});
