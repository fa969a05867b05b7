/** The thread of an incoming migration: it runs the engine once and reports how that ended. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { CancelledError, MigrationError } from './errors.js';
import { IncomingEngine } from './incoming_engine.js';
import { Mailbox } from './mailbox.js';
import type { IncomingData, IncomingMessage, ToIncoming } from './messages.js';

const data = workerData as IncomingData & { port: MessagePort };
const { port } = data;
const post = (message: IncomingMessage): void => port.postMessage(message);
const engine = new IncomingEngine(data, new Mailbox<ToIncoming>(port, data.progress.control), post);
try {
  engine.run();
} catch (error) {
  // A CancelledError is main's own wish to end: it waits for nothing but the thread's end.
  if (!(error instanceof CancelledError)) {
    const stage = error instanceof MigrationError ? error.stage : engine.stage;
    const cause = error instanceof MigrationError ? error.reason : (error as Error).message;
    post({ type: 'failed', stage, cause });
  }
}
port.close();
