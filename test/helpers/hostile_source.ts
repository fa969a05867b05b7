/** Plays a source that is up to no good, and says how its destination took that. */
import { TestDaemon, type TestScope, within } from './daemons.js';
import { FakeDestination, fakeSource, type ReceivedFrame } from './stream_peer.js';

const MiB = 2 ** 20;
/** Of the daemons here, MiB. */
export const HOSTILE_MEMORY = 16;
/** What a destination may need beyond what it has while it waits, whatever it is sent: its bound, and its RAM. */
const GROWTH = 16 * MiB + HOSTILE_MEMORY * MiB + 64 * MiB;

/** A real migration's frames, from HELLO to DIGEST. */
export async function recordStream(t: TestScope): Promise<readonly ReceivedFrame[]> {
  const source = await TestDaemon.source(t, 'fill=4 ws=1 rate=500 hb=50', { memory: HOSTILE_MEMORY });
  const fake = await FakeDestination.listen(t);
  await source.qmp.execute('migrate', { uri: fake.uri });
  const peer = await fake.connection();
  const hello = await peer.until('HELLO');
  peer.accept();
  const rest = await peer.until('DIGEST', true);
  return [...hello, ...rest];
}

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** All that it said on standard error. */
  stderr: string;
  /** The REFUSE that the source got, if any. */
  refusal: string | undefined;
  /** Bytes by which its peak memory grew, where it refused. */
  growth: number;
}

/** Sends `chunks` to a fresh destination and then no more: how that ended. */
export async function attack(t: TestScope, chunks: readonly Uint8Array[]): Promise<Outcome> {
  const { daemon, uri } = await TestDaemon.destination(t, { memory: HOSTILE_MEMORY });
  const before = daemon.memory('VmHWM');
  const peer = await fakeSource(t, uri);
  let refusal: string | undefined;
  let growth = 0;
  const answers = (async () => {
    for (;;) {
      const { header, body } = await peer.frame();
      if (header.type === 'REFUSE') {
        refusal = String(JSON.parse(body.toString()).reason);
        // It lingers until this side closes, so this is its peak.
        growth = Math.max(0, (daemon.memory('VmHWM') || before) - before);
        peer.socket.end();
      }
    }
  })().catch(() => peer.destroy()); // the connection's end
  for (const chunk of chunks) peer.socket.write(chunk);
  peer.socket.end();
  const { code, signal } = await within(20_000, 'the destination ends', daemon.exited);
  await answers;
  return { code, signal, stderr: daemon.stderr, refusal, growth };
}

/** It ended by itself, with one sentence, within its memory. */
export function endedWell({ code, signal, stderr, growth }: Outcome): boolean {
  return code === 1 && signal === null && /^vmhostd: [^\n]+\n$/.test(stderr) && growth < GROWTH;
}
