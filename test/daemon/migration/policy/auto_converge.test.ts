import t from 'tap';
import { AutoConverge, type ThrottleParameters } from '../../../../daemon/migration/policy/index.js';

const parameters: ThrottleParameters = { triggerThreshold: 50, initial: 20, increment: 10, max: 45, tailslow: false };

/** Periods of a little more than a second, in each of which 100 bytes are sent and as many dirtied as `dirty` says: the shares. */
function shares(dirty: readonly number[], changes: Partial<ThrottleParameters> = {}): number[] {
  const converge = new AutoConverge(0);
  return dirty.map((bytes, i) => {
    converge.synced((i + 1) * 1001, (i + 1) * 100, bytes, { ...parameters, ...changes });
    return converge.percent;
  });
}

t.test('every second period with too much dirtied slows the guest down further, up to the limit', async (t) => {
  t.same(shares([51, 51, 51, 51, 51, 51, 51, 51, 51, 51]), [0, 20, 20, 30, 30, 40, 40, 45, 45, 45]);
});

t.test('what is dirtied up to the threshold slows nothing down, nor back up', async (t) => {
  t.same(shares([50, 50, 50, 50]), [0, 0, 0, 0]);
  t.same(shares([51, 51, 0, 0, 0]), [0, 20, 20, 20, 20]);
  t.same(shares([51, 0, 51, 0]), [0, 0, 20, 20], 'as in QEMU, the two periods need not follow each other');
});

t.test('with tailslow the last steps are as small as they need be', async (t) => {
  t.same(shares([51, 51, 51, 51], { tailslow: true }), [0, 20, 20, 21]);
  t.same(shares([500, 500, 500, 500], { tailslow: true }), [0, 20, 20, 30]);
});

t.test('syncs within a second belong to one period', async (t) => {
  const converge = new AutoConverge(0);
  for (let ms = 100; ms <= 2002; ms += 100) converge.synced(ms, ms, ms < 2000 ? 80 : 0, parameters);
  t.equal(converge.percent, 0, 'one period is over');
  converge.synced(2300, 2300, 0, parameters);
  t.equal(converge.percent, 20, 'with what each of its syncs found');
});
