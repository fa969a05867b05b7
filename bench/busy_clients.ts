/**
 * Busy QMP clients in a process of their own, so that the one whose time is taken does not wait for them: each sends a command
 * so many milliseconds after the one before was answered. Arguments: those milliseconds, and a path for each. Sends its parent the number of answered commands when it is told to stop.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LineClient } from './line_client.js';

/** What management polls: cheap and less cheap, with short and long answers. */
const COMMANDS = ['query-status', 'query-migrate', 'query-cpus-fast', 'query-migrate-parameters', 'query-version'];

const [pause = '', ...paths] = process.argv.slice(2);
const pauseMs = Number(pause);
let answered = 0;
let stopping = false;

async function beBusy(client: LineClient, first: number): Promise<void> {
  for (let i = first; !stopping; i++) {
    await client.execute(COMMANDS[i % COMMANDS.length] as string);
    answered++;
    if (pauseMs > 0) await delay(pauseMs);
  }
  client.close();
}

const clients = await Promise.all(paths.map((path) => LineClient.connect(path)));
const ended = Promise.all(clients.map(beBusy));
process.once('message', async () => {
  stopping = true;
  await ended;
  process.send?.(answered);
  process.disconnect();
});
process.send?.('busy');
await ended;
