#!/usr/bin/env node
import { exitNow } from '../kvm/libc_unsafe.js';
import type { DaemonOptions } from './cli/daemon_options.js';
import { usage } from './cli/help.js';
/** The daemon's command line. */
import { parseOptions } from './cli/options.js';
import { UsageError } from './cli/values.js';
import { Daemon } from './daemon.js';
import { detach, isBackground, startInBackground } from './daemonize.js';
import { createLog } from './log.js';
import { sayer } from './say.js';
import { VERSION } from './version.js';

const args = process.argv.slice(2);
if (args.some((arg) => arg === '-h' || arg === '-help' || arg === '--help')) {
  process.stdout.write(usage());
  process.exit(0);
}
if (args.some((arg) => arg === '-version' || arg === '--version')) {
  process.stdout.write(`vmhostd ${VERSION}\n`);
  process.exit(0);
}

const log = createLog();
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: Error) => {
    log.fatal({ err: error }, `${event}: ${error?.message ?? String(error)}`);
    // A thread in KVM_RUN would keep process.exit waiting for ever.
    exitNow(1);
  });
}

/** Longest time that a timer can take. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Runs the daemon to its end. @returns the exit code */
async function run(options: DaemonOptions): Promise<number> {
  // A daemon without vCPUs and without a socket has nothing that would keep Node's loop going, and it ends by a signal only.
  setInterval(() => undefined, MAX_TIMER_MS);
  // A signal that comes while the daemon starts counts as soon as it has.
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, resolve);
  });
  const daemon = await Daemon.start(options, log, signalled);
  if (options.daemonize) detach();
  const ended = signalled.then((signal) => {
    daemon.signalled(signal);
    return 0;
  });
  const code = await Promise.race([daemon.exit, ended]);
  await daemon.close();
  return code;
}

let say = sayer({ message: { timestamp: false, guestName: false } });
let code = 1;
try {
  const options = parseOptions(args);
  say = sayer(options);
  if (options.processName !== undefined) process.title = options.processName;
  code = options.daemonize && !isBackground() ? await startInBackground() : await run(options);
} catch (error) {
  const hint = error instanceof UsageError ? "; see 'vmhostd --help'" : '';
  say(`${(error as Error).message}${hint}`);
  log.debug({ err: error }, 'the daemon could not go on');
  code = 1;
}
exitNow(code);
