/** Commands that measure how fast the guest dirties its memory. */
import { command } from '../command.js';
import { flag, long, optional } from '../parameters.js';

export const CALC_DIRTY_RATE = command({
  name: 'calc_dirty_rate',
  params: '[-r] [-b] second [sample_pages_per_GB]',
  help: 'measure for some seconds how fast the guest dirties its memory (-r: by the dirty ring; -b: by the dirty bitmap)',
  args: { ring: flag('r'), bitmap: flag('b'), seconds: long, samplePages: optional(long) },
  async run({ ring, bitmap, seconds, samplePages }, { qmp, print }) {
    if (seconds === 0n) {
      print('Incorrect period length specified!\n');
      return;
    }
    if (ring && bitmap) {
      print('Either dirty ring or dirty bitmap can be specified!\n');
      return;
    }
    await qmp('calc-dirty-rate', {
      'calc-time': seconds,
      ...(samplePages === undefined ? {} : { 'sample-pages': samplePages }),
      mode: ring ? 'dirty-ring' : bitmap ? 'dirty-bitmap' : 'page-sampling',
    });
    print(`Starting dirty rate measurement with period ${seconds} seconds\n`);
    print("[Please use 'info dirty_rate' to check results]\n");
  },
});

export const INFO_DIRTY_RATE = command({
  name: 'dirty_rate',
  help: 'what was measured of how fast the guest dirties its memory',
  async run(_, { qmp, print }) {
    const info = await qmp('query-dirty-rate');
    const rate = info['dirty-rate'];
    print(`Status: ${info.status}\nStart Time: ${info['start-time']} (ms)\n`);
    print(`Sample Pages: ${info['sample-pages']} (per GB)\nPeriod: ${info['calc-time']} (sec)\nMode: ${info.mode}\n`);
    print(`Dirty rate: ${rate === undefined ? '(not ready)' : `${rate} (MB/s)`}\n`);
  },
});
