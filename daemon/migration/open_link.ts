import type { ByteLink } from './byte_link.js';
import { SocketLink } from './socket_link.js';
import { StreamLink } from './stream_link.js';
import type { LinkData } from './transport.js';

/**
 * The link over what main opened.
 * @param checkInterrupted throws where the thread is to stop waiting; a socket's wait is ended by main
 * @param receiveLimitMs what has begun to arrive arrives within this time
 */
export function openLink(data: LinkData, checkInterrupted: () => void, receiveLimitMs?: number): ByteLink {
  if (data.kind === 'socket') return new SocketLink(data.fd, data.tcp, receiveLimitMs);
  return new StreamLink(data, { checkInterrupted, ...(receiveLimitMs === undefined ? {} : { receiveLimitMs }) });
}
