/** The thread of an incoming migration: it runs the engine once and reports how that ended. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { MigrationError } from './errors.js';
import { IncomingEngine } from './incoming_engine.js';
import { Mailbox } from './mailbox.js';
import type { IncomingData, IncomingMessage, ToIncoming } from './messages.js';
import { CONTROL, VERDICT } from './progress.js';

const data = workerData as IncomingData & { port: MessagePort };
const { port } = data;
const post = (message: IncomingMessage): void => port.postMessage(message);
const engine = new IncomingEngine(data, new Mailbox<ToIncoming>(port, data.progress.control), post);
try {
  engine.run();
} catch (error) {
  // When main itself ends the migration, whatever the engine stumbles over is no failure: main waits for the thread's end only.
  if (Atomics.load(data.progress.control, CONTROL.VERDICT) !== VERDICT.CANCELLED) {
    const stage = error instanceof MigrationError ? error.stage : engine.stage;
    const cause = error instanceof MigrationError ? error.reason : (error as Error).message;
    post({ type: 'failed', stage, cause });
  }
}
port.close();
