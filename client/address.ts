import type { NetConnectOpts } from 'node:net';

/**
 * Parses where a QMP server listens: `unix:PATH`, `tcp:HOST:PORT` (an IPv6 host in brackets), or a plain path.
 * Throws an Error that names what is wrong.
 */
export function parseAddress(address: string): NetConnectOpts {
  if (address.startsWith('tcp:')) {
    const match = /^tcp:(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address);
    const port = Number(match?.[3]);
    if (!match || port < 1 || port > 65535) throw new Error(`'${address}' is not an address of the form tcp:HOST:PORT`);
    return { host: match[1] || match[2] || 'localhost', port };
  }
  const path = address.startsWith('unix:') ? address.slice('unix:'.length) : address;
  if (path === '') throw new Error(`'${address}' is not an address: the path is empty`);
  return { path };
}
