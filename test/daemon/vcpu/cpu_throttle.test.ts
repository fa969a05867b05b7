import t from 'tap';
import { CpuThrottle, sleepMs } from '../../../daemon/vcpu/cpu_throttle.js';

t.test('a share of the time is slept between timeslices of 10 ms', async (t) => {
  t.equal(sleepMs(50), 10);
  t.equal(sleepMs(20), 2.5);
  t.equal(Math.round(sleepMs(99)), 990);
});

t.test('every vCPU sleeps, again and again, until the share is 0', async (t) => {
  const slept: string[] = [];
  let third: () => void = () => undefined;
  const enough = new Promise<void>((resolve) => {
    third = resolve;
  });
  const vcpu = (name: string) => ({
    sleep: (ms: number) => {
      slept.push(`${name} ${ms}`);
      if (slept.length === 6) third();
    },
  });
  const alive = setInterval(() => undefined, 1000);
  using throttle = new CpuThrottle([vcpu('a'), vcpu('b')]);
  throttle.set(50);
  t.equal(throttle.percent, 50);
  await enough;
  clearInterval(alive);
  t.same(slept.slice(0, 4), ['a 10', 'b 10', 'a 10', 'b 10']);
  throttle.set(0);
  const { length } = slept;
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(slept.length, length);
});
