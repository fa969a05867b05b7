import fc from 'fast-check';
import t from 'tap';
import { EventLimits, type Timers } from '../../../daemon/qmp/event_limits.js';

/** A clock that is set by hand, and its timers. */
class ManualTimers implements Timers {
  nowMs = 0;
  #pending: Array<{ at: number; action: () => void }> = [];

  start(action: () => void, ms: number): { cancel(): void } {
    const timer = { at: this.nowMs + ms, action };
    this.#pending.push(timer);
    return {
      cancel: () => {
        this.#pending = this.#pending.filter((other) => other !== timer);
      },
    };
  }

  get count(): number {
    return this.#pending.length;
  }

  advanceTo(ms: number): void {
    for (;;) {
      const next = this.#pending.filter(({ at }) => at <= ms).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#pending = this.#pending.filter((timer) => timer !== next);
      this.nowMs = next.at;
      next.action();
    }
    this.nowMs = ms;
  }
}

/** What came out, and when. */
function recorder(): {
  timers: ManualTimers;
  limits: EventLimits;
  sent: string[];
  pass: (at: number, event: string, data?: object) => void;
} {
  const timers = new ManualTimers();
  const limits = new EventLimits(timers);
  const sent: string[] = [];
  let number = 0;
  const pass = (at: number, event: string, data?: object) => {
    timers.advanceTo(at);
    const mine = number++;
    limits.pass(event, data, () => sent.push(`${timers.nowMs} ${event} ${mine}`));
  };
  return { timers, limits, sent, pass };
}

t.test('the first event goes out at once, then the latest of each second when that is over', async (t) => {
  const { timers, sent, pass } = recorder();
  for (const at of [0, 100, 900, 1100, 1200]) pass(at, 'RTC_CHANGE', { offset: at });
  timers.advanceTo(10_000);
  t.same(sent, ['0 RTC_CHANGE 0', '1000 RTC_CHANGE 2', '2000 RTC_CHANGE 4']);
  pass(10_000, 'RTC_CHANGE', { offset: 1 });
  t.equal(sent.at(-1), '10000 RTC_CHANGE 5', 'after a second of silence the next is at once again');
});

t.test('events without a limit pass, and limited ones do not delay each other', async (t) => {
  const { sent, pass } = recorder();
  for (const event of ['STOP', 'STOP', 'WATCHDOG', 'RTC_CHANGE', 'BALLOON_CHANGE', 'QUORUM_FAILURE', 'STOP'])
    pass(0, event);
  t.equal(sent.length, 7);
});

t.test('events of several ports, nodes and memory devices are limited each by itself', async (t) => {
  for (const [event, member] of [
    ['VSERPORT_CHANGE', 'id'],
    ['QUORUM_REPORT_BAD', 'node-name'],
    ['MEMORY_DEVICE_SIZE_CHANGE', 'qom-path'],
  ] as const) {
    const { sent, pass } = recorder();
    for (const name of ['a', 'b', 'a', 'b']) pass(0, event, { [member]: name });
    t.same(sent, [`0 ${event} 0`, `0 ${event} 1`]);
  }
});

t.test('what waits when the server ends is lost, and no timer is left', async (t) => {
  const { timers, limits, sent, pass } = recorder();
  pass(0, 'WATCHDOG');
  pass(1, 'WATCHDOG');
  limits[Symbol.dispose]();
  t.equal(timers.count, 0);
  timers.advanceTo(5000);
  t.equal(sent.length, 1);
});

t.test('however events come, there is never more than one a second, and the last one is never lost', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3000), { minLength: 1, maxLength: 60 }), (gaps) => {
      const { timers, sent, pass } = recorder();
      let at = 0;
      for (const gap of gaps) pass((at += gap), 'RTC_CHANGE');
      timers.advanceTo(at + 5000);
      const times = sent.map((line) => Number(line.split(' ')[0]));
      const close = times.some((time, i) => i > 0 && time - (times[i - 1] as number) < 1000);
      return !close && sent.at(-1)?.endsWith(` ${gaps.length - 1}`) === true && timers.count === 0;
    }),
  );
});
