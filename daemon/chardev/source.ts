import type { Duplex } from 'node:stream';

/** What a chardev's bytes come from and go to. */
export interface ChardevSource {
  /** What `query-chardev` calls its file name, as it is now. */
  filename(): string;
  /** No stream comes from now on, and nothing of it is left in the file system. Streams that came are their takers'. */
  close(): void;
}

/** Opens a source: each of its streams goes to `offer`, one a client for a socket that listens, one in all for the other kinds. */
export type OpenSource = (offer: (stream: Duplex) => void) => Promise<ChardevSource>;
