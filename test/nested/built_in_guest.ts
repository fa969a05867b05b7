/** The built-in guest, dirtying memory flat out, is migrated; it then finds every page as it wrote it. */
import assert from 'node:assert/strict';
import { figures, migrate, startDestination } from './migrate.js';
import type { Report } from './report.js';
import type { SerialSocket } from './serial_log.js';
import { VmDaemon } from './vm_daemon.js';

const MACHINE = ['-m', '64', '-no-reboot'];
const APPEND = 'fill=32 ws=8 rate=max hb=500';
const WAIT_MS = 60_000;

const heartbeats = (text: string): number[] => [...text.matchAll(/^HB (\d+) .*$\n/gm)].map((match) => Number(match[1]));

export async function builtInGuest(report: Report, options: { image: string; dir: string }): Promise<void> {
  const { image, dir } = options;
  const daemons: VmDaemon[] = [];
  const log = (): string => daemons.map((daemon) => daemon.serial.text).join('');
  try {
    await report.check(
      'the built-in guest dirties memory flat out, is migrated, and finds every page as it wrote it',
      async () => {
        const args = [...MACHINE, '-kernel', image, '-append', APPEND];
        // It says nothing before its socket is connected: with -S not a line is missed.
        const source = await VmDaemon.start({ dir, name: 'built-in', args: [...args, '-S'], serial: 'socket' });
        daemons.push(source);
        await source.qmp.execute('cont');
        const up = (text: string) => (heartbeats(text).length >= 2 ? true : undefined);
        await source.serial.wait('second heartbeat', up, WAIT_MS);
        const { destination, uri } = await startDestination(
          { dir, name: 'built-in-destination', args: MACHINE, serial: 'socket' },
          'unix',
        );
        daemons.push(destination);
        report.note(figures(await migrate(source, destination, uri, 'MPLM')));
        const before = heartbeats(log()).length;
        const goesOn = () => (heartbeats(log()).length >= before + 2 ? true : undefined);
        await destination.serial.wait('heartbeat at the destination', goesOn, WAIT_MS);
        (destination.serial as SerialSocket).send('v');
        const verdict = await destination.serial.wait(
          'verdict on the memory',
          (text) => /^(VERIFY .*|STALE .*)$\n/m.exec(text)?.[1],
          WAIT_MS,
        );
        report.note(verdict);
        assert.match(verdict, /^VERIFY ok pages=8192 passes=[1-9]/);
        assert.doesNotMatch(log(), /^(STALE|FAULT|ERROR|WARN)/m);
        const beats = heartbeats(log());
        assert.deepEqual(
          beats,
          beats.map((_, i) => i + 1),
        );
      },
      () => daemons.map((daemon) => daemon.diagnosis()).join('\n'),
    );
  } finally {
    await Promise.all(daemons.map((daemon) => daemon[Symbol.asyncDispose]()));
  }
}
