import type { Transcript } from './transcript.js';

/** Groups of records that leave nothing behind: a connection of its own is enough for each. */
const STATELESS: ReadonlySet<string | undefined> = new Set([
  'negotiation',
  'dispatch',
  'id',
  'json',
  'framing',
  'limits',
  'oob',
]);

/**
 * The transcripts in the portions that share a server, in their order: the records of a session, and those that leave
 * nothing behind. A session is kept whole if any record of it is wanted, since the later ones depend on the earlier.
 */
export function batches(transcripts: readonly Transcript[], wanted: (one: Transcript) => boolean): Transcript[][] {
  const found = new Map<string, Transcript[]>();
  for (const [index, transcript] of transcripts.entries()) {
    const { session, group, qemu_args, closed, mon_opts, boot_asm } = transcript;
    const alone = closed !== undefined || mon_opts !== undefined || boot_asm !== undefined;
    const shared = session ?? (STATELESS.has(group) && !alone ? 'stateless' : `alone ${index}`);
    if (session === undefined && !wanted(transcript)) continue;
    const key = `${shared} ${JSON.stringify(qemu_args)}`;
    found.set(key, [...(found.get(key) ?? []), transcript]);
  }
  return [...found.values()].filter((batch) => batch.some(wanted));
}
