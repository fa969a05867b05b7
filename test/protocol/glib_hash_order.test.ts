import t from 'tap';
import { glibHashOrder } from '../../protocol/glib_hash_order.js';

t.test('keys are in the order that QEMU 7.2 with GLib 2.74 shows, from the last', (t) => {
  for (const [inserted, shown] of [
    [
      'f compat_monitor0 n t p compat_monitor1 t6 u2 rb ab serial0',
      'u2 p rb compat_monitor1 compat_monitor0 f t6 t n serial0 ab',
    ],
    [
      'compat_monitor0 lfd lfd2 cu ct cfd ts tl tn pi compat_monitor1',
      'cu ts lfd2 pi tn lfd compat_monitor0 compat_monitor1 cfd ct tl',
    ],
  ] as const) {
    t.equal(glibHashOrder(inserted.split(' ')).reverse().join(' '), shown);
  }
  t.same(glibHashOrder([]), []);
  t.end();
});

t.test('every key is there once, however many', (t) => {
  const keys = Array.from({ length: 1000 }, (_, i) => `key${i}`);
  t.same(glibHashOrder(keys).sort(), [...keys].sort());
  t.end();
});
