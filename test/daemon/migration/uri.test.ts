import t from 'tap';
import { parseMigrationUri, resolveMigrationAddress } from '../../../daemon/migration/uri.js';

const unknown = () => new Error("Parameter 'uri' expects a valid migration protocol");
const parse = (uri: string) => parseMigrationUri(uri, unknown);

t.test('URIs are read in QEMU’s forms', (t) => {
  t.same(parse('tcp:127.0.0.1:4444'), { kind: 'tcp', host: '127.0.0.1', port: '4444' });
  t.same(parse('tcp:host.example:0'), { kind: 'tcp', host: 'host.example', port: '0' });
  t.same(parse('tcp::4444'), { kind: 'tcp', host: '', port: '4444' });
  t.same(parse('tcp:[::1]:4444'), { kind: 'tcp', host: '::1', port: '4444' });
  t.same(parse('tcp:::1:4444'), { kind: 'tcp', host: '', port: ':1:4444' });
  t.same(parse('tcp:h:1,to=9,ipv4,ipv6=off,keep-alive=on,zzz'), {
    kind: 'tcp',
    host: 'h',
    port: '1',
    to: 9,
    ipv4: true,
    ipv6: false,
  });
  t.same(parse('vsock:2:1'), { kind: 'vsock', cid: '2', port: '1' });
  t.same(parse('fd:mig'), { kind: 'fd', name: 'mig' });
  t.same(parse('exec:cat > /a:b'), { kind: 'exec', command: 'cat > /a:b' });
  t.same(parse('exec:'), { kind: 'exec', command: '' });
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
    ['tcp:127.0.0.1:', "error parsing address '127.0.0.1:'"],
    ['tcp::', "error parsing port in address ':'"],
    ['tcp:[::1]', "error parsing IPv6 address '[::1]'"],
    ['tcp:[::1:1', "error parsing IPv6 address '[::1:1'"],
    ['tcp:127.0.0.1:1,to=x', 'error parsing to= argument'],
    ['tcp:127.0.0.1:1,ipv4=bad', "error parsing 'ipv4' flag '=bad'"],
    ['vsock:', "error parsing address ''"],
    ['vsock:2', "error parsing address '2'"],
    ['rdma:x', "RDMA ERROR: bad RDMA migration address 'x'"],
    ['rdma:127.0.0.1:1', 'RDMA ERROR: could not create CM channel'],
    ['file:/tmp/x', "Parameter 'uri' expects a valid migration protocol"],
    ['unix:', 'invalid Unix socket address'],
  ] as const) {
    t.throws(() => parse(uri), { message: text }, uri);
  }
  t.end();
});

t.test('an address is resolved for listening and for connecting; a bad port, name or path says why', async (t) => {
  const tcp = (host: string, port: string, passive = false) =>
    resolveMigrationAddress({ kind: 'tcp', host, port }, passive);
  t.same(await tcp('', '5', true), { kind: 'tcp', host: '::', port: 5 });
  t.same(await tcp('0', '5', true), { kind: 'tcp', host: '0.0.0.0', port: 5 });
  await t.rejects(tcp('', '5'), { message: 'address resolution failed for :5: Name or service not known' });
  for (const host of ['127.0.0.1', '::1']) {
    const other = host === '::1' ? { ipv4: true } : { ipv6: true };
    await t.rejects(resolveMigrationAddress({ kind: 'tcp', host, port: '5', ...other }, false), {
      message: `address resolution failed for ${host}:5: Address family for hostname not supported`,
    });
  }
  for (const [cid, port, message] of [
    ['x', '1', "Failed to parse cid 'x'"],
    ['2', 'x', "Failed to parse port 'x'"],
    ['2', '1', 'socket family AF_VSOCK unsupported'],
  ] as const) {
    await t.rejects(resolveMigrationAddress({ kind: 'vsock', cid, port }, false), { message });
  }
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
