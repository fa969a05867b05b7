import t from 'tap';
import { complete } from '../../../daemon/ctl/completion.js';
import { COMMANDS } from '../../../schemas/generated/qmp.js';

const commands = Object.keys(COMMANDS);
const offers = (line: string) => complete(line, commands)[0];

t.test('commands are completed, and what the shell itself understands', async (t) => {
  t.same(complete('query-migrate-p', commands), [['query-migrate-parameters '], 'query-migrate-p']);
  t.ok(offers('').includes('help '));
  t.ok(offers('').includes('stop '));
  t.same(offers('help system_r'), ['system_reset ']);
  t.same(offers('ex'), ['exit ']);
  t.same(complete('x', ['x-vendor']), [['x-vendor '], 'x'], 'commands are those of the server');
});

t.test('argument names come from the schema, without those that are given', async (t) => {
  const names = offers('migrate ');
  t.ok(
    names.includes('uri=') && names.includes('detach=') && names.includes('--wait ') && names.includes('--progress '),
  );
  const left = offers('migrate uri=tcp:a:1 --wait ');
  t.notOk(left.includes('uri=') || left.includes('--wait '));
  t.same(offers('migrate ur'), ['uri=']);
  t.same(offers('stop '), []);
  t.same(offers('no-such-command '), []);
});

t.test('values of booleans and enums are offered, also inside of lists', async (t) => {
  t.same(complete('migrate detach=', commands), [['detach=false ', 'detach=true '], 'detach=']);
  t.same(offers('migrate detach=f'), ['detach=false ']);
  t.same(offers('migrate uri='), [], 'nothing is known of a string');
  t.ok(offers('migrate-set-capabilities capabilities.0.capability=').includes('capabilities.0.capability=events '));
  t.same(offers('migrate-set-capabilities capabilities.0.st'), ['capabilities.0.state=']);
  t.same(offers('qmp_capabilities enable='), ['enable=oob ']);
  t.same(offers('qmp_capabilities enable=oob,'), ['enable=oob,oob ']);
  t.same(offers('migrate uri="a b'), [], 'nor within quotes');
});
