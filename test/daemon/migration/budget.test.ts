import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { BUDGET_WORD, BUDGET_WORDS, Budget, BudgetError } from '../../../daemon/migration/budget.js';

t.test('whatever is drawn and given back, the bound holds and the peak is the most there was', (t) => {
  const step = fc.record({ draw: fc.boolean(), bytes: fc.nat(600), which: fc.nat(), twice: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const budget = new Budget(1000);
      const held: { bytes: number; drawn: Disposable }[] = [];
      let peak = 0;
      for (const { draw, bytes, which, twice } of steps) {
        const before = held.reduce((sum, h) => sum + h.bytes, 0);
        if (draw && bytes > 1000 - before) {
          assert.throws(() => budget.draw('x', bytes), BudgetError);
        } else if (draw) {
          held.push({ bytes, drawn: budget.draw('x', bytes) });
        } else if (held.length > 0) {
          const [gone] = held.splice(which % held.length, 1);
          gone?.drawn[Symbol.dispose]();
          if (twice) gone?.drawn[Symbol.dispose]();
        }
        const now = held.reduce((sum, h) => sum + h.bytes, 0);
        peak = Math.max(peak, now);
        assert.deepEqual([budget.inUse, budget.left, budget.peak], [now, 1000 - now, peak]);
      }
    }),
  );
  t.end();
});

t.test('a draw that is too much names what for, and the bound; others see the words in shared memory', (t) => {
  const words = new Float64Array(new SharedArrayBuffer(BUDGET_WORDS * 8));
  const budget = new Budget(100, words);
  budget.draw('tables', 60);
  t.throws(() => budget.draw('frames', 41), {
    name: 'BudgetError',
    message: 'frames needs 41 bytes, and 60 of max-buffer-bytes 100 are in use',
  });
  t.same([words[BUDGET_WORD.BOUND], words[BUDGET_WORD.IN_USE], words[BUDGET_WORD.PEAK]], [100, 60, 60]);
  t.end();
});

t.test('a bound is lowered only before anything is drawn from it, and the peak starts anew', (t) => {
  const budget = new Budget(100);
  const drawn = budget.draw('x', 80);
  t.throws(() => budget.lower(50), { message: /before anything is drawn/ });
  drawn[Symbol.dispose]();
  t.throws(() => budget.lower(101), { message: /before anything is drawn/ });
  budget.lower(50);
  t.same([budget.bound, budget.peak], [50, 0]);
  t.throws(() => budget.draw('x', 51), BudgetError);
  t.end();
});
