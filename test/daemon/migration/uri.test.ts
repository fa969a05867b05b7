import t from 'tap';
import { parseMigrationUri, resolveMigrationAddress } from '../../../daemon/migration/uri.js';

const unknown = () => new Error("Parameter 'uri' expects a valid migration protocol");
const parse = (uri: string) => parseMigrationUri(uri, unknown);

t.test('URIs are read in QEMU’s forms', (t) => {
  t.same(parse('tcp:127.0.0.1:4444'), { kind: 'tcp', host: '127.0.0.1', port: '4444' });
  t.same(parse('tcp:host.example:0'), { kind: 'tcp', host: 'host.example', port: '0' });
  t.same(parse('tcp::4444'), { kind: 'tcp', host: '', port: '4444' });
  t.same(parse('tcp:[::1]:4444'), { kind: 'tcp', host: '::1', port: '4444' });
  t.same(parse('unix:/a:b,c'), { kind: 'unix', path: '/a:b,c' });
  t.end();
});

t.test('a URI that is none is refused in the words of QEMU 7.2', (t) => {
  for (const [uri, text] of [
    ['bogus', "Parameter 'uri' expects a valid migration protocol"],
    ['', "Parameter 'uri' expects a valid migration protocol"],
    ['bogus:x', "Parameter 'uri' expects a valid migration protocol"],
    ['TCP:127.0.0.1:1', "Parameter 'uri' expects a valid migration protocol"],
    ['tcp:', "error parsing address ''"],
    ['tcp:127.0.0.1', "error parsing address '127.0.0.1'"],
    ['tcp:[::1]', "error parsing address '[::1]'"],
    ['tcp:::1:4444', "error parsing address '::1:4444'"],
    ['unix:', 'invalid Unix socket address'],
  ] as const) {
    t.throws(() => parse(uri), { message: text }, uri);
  }
  t.end();
});

t.test('an address is resolved for listening and for connecting; a bad port, name or path says why', async (t) => {
  const tcp = (host: string, port: string, passive = false) =>
    resolveMigrationAddress({ kind: 'tcp', host, port }, passive);
  t.same(await tcp('', '5', true), { kind: 'tcp', host: '0.0.0.0', port: 5 });
  t.same(await tcp('', '5'), { kind: 'tcp', host: '127.0.0.1', port: 5 });
  t.same(await tcp('127.0.0.1', '65535'), { kind: 'tcp', host: '127.0.0.1', port: 65535 });
  t.same(await tcp('::1', '1'), { kind: 'tcp', host: '::1', port: 1 });
  for (const port of ['notaport', '65536', '-1', '1.5', '']) {
    await t.rejects(tcp('127.0.0.1', port), {
      message: `address resolution failed for 127.0.0.1:${port}: Servname not supported for ai_socktype`,
    });
  }
  const path = 'x'.repeat(108);
  await t.rejects(resolveMigrationAddress({ kind: 'unix', path }, false), {
    message: `UNIX socket path '${path}' is too long`,
  });
  t.same(await resolveMigrationAddress({ kind: 'unix', path: '/s' }, true), { kind: 'unix', path: '/s' });
});
