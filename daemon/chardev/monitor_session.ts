/** A human monitor on a chardev, as the chardev sees it. */

/** What a session does to its client. */
export interface MonitorClient {
  /** Sends text; more than the client reads is bounded by whoever carries it. */
  write(text: string): void;
  /** Ends the connection once what was written is out. */
  close(): void;
}

/** One client of a human monitor. */
export interface MonitorSession {
  /** Bytes that the client sent. */
  data(bytes: Uint8Array): void;
  /** The client is gone: nothing can be written any more. */
  end(): void;
}

/** Greets a client that has connected, and serves it. */
export type OpenMonitorSession = (client: MonitorClient) => MonitorSession;
