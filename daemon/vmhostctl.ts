#!/usr/bin/env node
// Drives a running daemon, or another QMP server, from a shell or a script.
import { QmpClient } from '../client/qmp_client.js';
import { UsageError } from './cli/values.js';
import { printEvents } from './ctl/events.js';
import { commandHelp, commandList, USAGE } from './ctl/help.js';
import { historyPath, loadHistory, saveHistory } from './ctl/history.js';
import { type CtlOptions, parseCtlOptions } from './ctl/options.js';
import { jsonText } from './ctl/output.js';
import { readArguments, runCommand } from './ctl/run_command.js';
import { Shell } from './ctl/shell.js';
import { Interrupted, type Terminal } from './ctl/terminal.js';
import { timeLimit } from './ctl/time_limit.js';

const FAILED = 1;
const WRONG_USAGE = 2;
const INTERRUPTED = 130;

const terminal: Terminal = {
  progress: process.stderr,
  note: (text) => void process.stderr.write(`vmhostctl: ${text}\n`),
  onInterrupt: (handler) => {
    process.on('SIGINT', handler);
    return { [Symbol.dispose]: () => void process.off('SIGINT', handler) };
  },
};

/** @returns the exit code */
async function main(options: CtlOptions): Promise<number> {
  const [command = 'shell', ...words] = options.words;
  if (options.help || command === 'help') {
    const about = options.help ? options.words[0] : words[0];
    process.stdout.write(about === undefined ? `${USAGE}\n${commandList()}` : commandHelp(about));
    return 0;
  }
  if (options.socket === undefined) throw new UsageError('-s ADDRESS is missing');
  const request = { ...options, command, words };
  const isCommand = command !== 'shell' && command !== 'events';
  if (isCommand) readArguments(request);
  else if (words.length > 0) throw new UsageError(`'${command}' takes no '${words[0]}'`);
  const signal = timeLimit(options.timeoutMs);
  await using client = await QmpClient.connect(options.socket, { signal });
  if (command === 'shell') {
    const path = historyPath(process.env);
    const streams = { input: process.stdin, output: process.stdout, error: process.stderr, terminal };
    const history = { history: loadHistory(path), keepHistory: (lines: readonly string[]) => saveHistory(path, lines) };
    // Awaited here: leaving this function closes the client.
    return await new Shell(client, { ...streams, ...history }).run();
  }
  if (command === 'events') {
    const events = { names: options.events, follow: options.follow };
    await printEvents(client, events, (text) => void process.stdout.write(text), signal);
    return 0;
  }
  process.stdout.write(jsonText(await runCommand(client, request, terminal, signal), options.compact));
  return 0;
}

function exitCode(error: unknown): number {
  if (error instanceof UsageError) return WRONG_USAGE;
  return error instanceof Interrupted ? INTERRUPTED : FAILED;
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Nobody reads any more, as in `vmhostctl events --follow | head`: there is nothing to say. A full disk is to be known.
  if (error.code !== 'EPIPE') terminal.note(`the output cannot be written: ${error.message}`);
  process.exit(FAILED);
});
try {
  process.exitCode = await main(parseCtlOptions(process.argv.slice(2), process.env));
} catch (error) {
  process.exitCode = exitCode(error);
  process.stderr.write(`vmhostctl: ${(error as Error).message}\n`);
  if (process.exitCode === WRONG_USAGE) process.stderr.write(`\n${USAGE}`);
}
