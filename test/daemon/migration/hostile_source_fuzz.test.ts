import fc from 'fast-check';
import t from 'tap';
import { HEADER_BYTES } from '../../../protocol/migration_stream.js';
import { noKvm } from '../../helpers/daemons.js';
import { attack, endedWell, recordStream } from '../../helpers/hostile_source.js';
import type { ReceivedFrame } from '../../helpers/stream_peer.js';

const skip = noKvm();

t.test(
  'whatever of a real stream is changed or cut off, the destination ends with one sentence',
  { skip },
  async (t) => {
    const frames = await recordStream(t);
    /** Where a change can be seen: in headers, tables and JSON. What pages hold is the guest's own business. */
    const places = fc
      .nat(frames.length - 1)
      .chain((frame) =>
        fc.nat(HEADER_BYTES + (frames[frame] as ReceivedFrame).body.length - 1).map((offset) => ({ frame, offset })),
      );
    const damage = fc.oneof(
      fc.record({ kind: fc.constant('flip' as const), place: places, value: fc.integer({ min: 1, max: 255 }) }),
      fc.record({ kind: fc.constant('cut' as const), place: places, value: fc.constant(0) }),
      fc.record({ kind: fc.constant('drop' as const), place: places, value: fc.constant(0) }),
      fc.record({ kind: fc.constant('twice' as const), place: places, value: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(damage, damage, async (one, two) => {
        let bytes: Uint8Array[] = frames.map((frame) => frame.bytes);
        for (const { kind, place, value } of [one, two]) {
          const frame = Math.min(place.frame, bytes.length - 1);
          const whole = bytes[frame];
          if (whole === undefined) continue;
          const offset = Math.min(place.offset, whole.length - 1);
          if (kind === 'flip') {
            const copy = Buffer.from(whole);
            copy.writeUInt8(copy.readUInt8(offset) ^ value, offset);
            bytes[frame] = copy;
          } else if (kind === 'cut') bytes = [...bytes.slice(0, frame), whole.subarray(0, offset)];
          else if (kind === 'drop') bytes.splice(frame, 1);
          else bytes.splice(frame, 0, whole);
        }
        // The stream ends before COMMIT, so even a change that cannot be seen ends in a failure.
        const outcome = await attack(t, bytes);
        if (!endedWell(outcome)) throw new Error(JSON.stringify(outcome));
      }),
      { numRuns: 20, endOnFailure: true },
    );
  },
);
