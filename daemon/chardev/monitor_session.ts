/** A human monitor on a chardev, as the chardev sees it. */
import type { Duplex } from 'node:stream';

/**
 * Greets a client that has connected, and serves it. The stream is the session's from then on: it reads no faster than it answers, ends the stream once all that
 * came before the end of its input is answered, and takes file descriptors from the event `fds`.
 */
export type OpenMonitorSession = (stream: Duplex) => void;
