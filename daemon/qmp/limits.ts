/** What one QMP client may hold in this process. Bytes are of text waiting to be sent. */
export interface ClientLimits {
  /** Above this many bytes no further command of the client is run or read. */
  readonly softBytes: number;
  /** A client with more than this many bytes waiting when another message comes is disconnected. */
  readonly hardBytes: number;
  /** Commands that may wait when out-of-band execution is enabled (QMP_REQ_QUEUE_LEN_MAX of QEMU's monitor). */
  readonly queue: number;
}

export const CLIENT_LIMITS: ClientLimits = { softBytes: 256 << 10, hardBytes: 16 << 20, queue: 8 };

/** Clients that may be connected to one server at once. */
export const MAX_CLIENTS = 64;

/** Milliseconds a client is given to take what is left for it when the server closes. */
export const FLUSH_MS = 1000;
