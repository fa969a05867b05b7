/** The thread of an outgoing migration: it runs the engine once and reports how that ended. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { CancelledError, MigrationError } from './errors.js';
import { Mailbox } from './mailbox.js';
import type { OutgoingData, OutgoingMessage, ToOutgoing } from './messages.js';
import { OutgoingEngine } from './outgoing_engine.js';
import { CONTROL, VERDICT } from './progress.js';

const data = workerData as OutgoingData & { port: MessagePort };
const { port } = data;
const { control } = data.progress;
const post = (message: OutgoingMessage): void => port.postMessage(message);
const engine = new OutgoingEngine(data, new Mailbox<ToOutgoing>(port, control), post);
try {
  engine.run();
} catch (error) {
  // A cancel shuts the socket down under the engine: whatever it then stumbles over is that cancel.
  if (error instanceof CancelledError || Atomics.load(control, CONTROL.VERDICT) === VERDICT.CANCELLED) {
    post({ type: 'cancelled' });
  } else {
    const stage = error instanceof MigrationError ? error.stage : engine.stage;
    const cause = error instanceof MigrationError ? error.reason : (error as Error).message;
    post({ type: 'failed', stage, cause, outcomeUnknown: engine.outcomeUnknown });
  }
}
port.close();
