#!/usr/bin/env node
import { exitNow } from '../kvm/libc_unsafe.js';
import { usage } from './cli/help.js';
/** The daemon's command line. */
import { parseOptions } from './cli/options.js';
import { UsageError } from './cli/values.js';
import { Daemon } from './daemon.js';
import { createLog } from './log.js';
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

let code = 1;
try {
  // A signal that comes while the daemon starts counts as soon as it has.
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, resolve);
  });
  const daemon = await Daemon.start(parseOptions(args), log, signalled);
  const ended = signalled.then((signal) => {
    daemon.signalled(signal);
    return 0;
  });
  code = await Promise.race([daemon.exit, ended]);
  await daemon.close();
} catch (error) {
  const hint = error instanceof UsageError ? "; see 'vmhostd --help'" : '';
  process.stderr.write(`vmhostd: ${(error as Error).message}${hint}\n`);
  log.debug({ err: error }, 'the daemon could not go on');
  code = 1;
}
exitNow(code);
