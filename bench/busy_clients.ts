/**
 * Busy QMP clients in a process of their own, so that the one whose time is taken does not wait for them: each sends a command as
 * soon as the one before is answered. Arguments: a path for each. Sends its parent the number of answered commands when it is told to stop.
 */
import { LineClient } from './line_client.js';

/** What management polls: cheap and less cheap, with short and long answers. */
const COMMANDS = ['query-status', 'query-migrate', 'query-cpus-fast', 'query-migrate-parameters', 'query-version'];

let answered = 0;
let stopping = false;

async function beBusy(client: LineClient, first: number): Promise<void> {
  for (let i = first; !stopping; i++) {
    await client.execute(COMMANDS[i % COMMANDS.length] as string);
    answered++;
  }
  client.close();
}

const clients = await Promise.all(process.argv.slice(2).map((path) => LineClient.connect(path)));
const ended = Promise.all(clients.map(beBusy));
process.once('message', async () => {
  stopping = true;
  await ended;
  process.send?.(answered);
  process.disconnect();
});
process.send?.('busy');
await ended;
