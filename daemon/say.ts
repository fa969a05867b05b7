/** Sentences on standard error, for whoever started the daemon. */
import { wallClockMicroseconds } from './qmp/wall_clock.js';

export type Say = (sentence: string) => void;

/** What sentences begin with: `-msg`, and the name that `-msg guest-name=on` shows. */
export interface SayOptions {
  readonly message: { readonly timestamp: boolean; readonly guestName: boolean };
  readonly name?: string;
}

/** Writes one line a sentence, begun as QEMU begins them (util/error-report.c). */
export function sayer({ message, name }: SayOptions): Say {
  return (sentence) => {
    const guest = message.guestName && name !== undefined ? `${name} ` : '';
    process.stderr.write(
      `${message.timestamp ? `${timestamp(wallClockMicroseconds())} ` : ''}${guest}vmhostd: ${sentence}\n`,
    );
  };
}

/** ISO 8601 with microseconds, UTC. */
function timestamp(microseconds: number): string {
  const text = new Date(Math.floor(microseconds / 1000)).toISOString();
  return text.replace('Z', `${String(microseconds % 1000).padStart(3, '0')}Z`);
}
