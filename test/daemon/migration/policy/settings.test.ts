import fc from 'fast-check';
import t from 'tap';
import {
  createPolicy,
  DEFAULT_MPLM_SETTINGS,
  mplmSettings,
  SettingError,
} from '../../../../daemon/migration/policy/index.js';

t.test('the defaults are those of the algorithm', async (t) => {
  t.same(mplmSettings({}), {
    enable: true,
    firstnondirty: true,
    intervaltime: 3,
    relaxlivemig: true,
    dirtypercents: 50,
  });
});

t.test('changes apply to the base they are given, which stays as it was', async (t) => {
  const first = mplmSettings({ dirtypercents: 99, firstnondirty: false });
  const second = mplmSettings({ intervaltime: 86400, enable: undefined }, first);
  t.same(second, { enable: true, firstnondirty: false, intervaltime: 86400, relaxlivemig: true, dirtypercents: 99 });
  t.equal(first.intervaltime, 3);
  t.equal(DEFAULT_MPLM_SETTINGS.dirtypercents, 50);
});

t.test('a value out of its range is refused by name', async (t) => {
  for (const dirtypercents of [0, 100, 150, -5, 50.5, Number.NaN, Infinity, '50', 50n, null, [50]]) {
    t.throws(() => mplmSettings({ dirtypercents }), { name: 'SettingError', parameter: 'dirtypercents' });
  }
  for (const intervaltime of [0, -1, 2 ** 40, 86401, 0.5, true]) {
    t.throws(() => mplmSettings({ intervaltime }), { name: 'SettingError', parameter: 'intervaltime' });
  }
  for (const name of ['enable', 'firstnondirty', 'relaxlivemig']) {
    t.throws(() => mplmSettings({ [name]: 1 }), { name: 'SettingError', parameter: name });
  }
  t.throws(() => mplmSettings({ dirtypercents: 150 }), {
    message: "Parameter 'dirtypercents' expects an integer from 1 to 99, not 150",
  });
  t.throws(() => mplmSettings({ dirtypercent: 50 }), { message: "Parameter 'dirtypercent' is unexpected" });
});

t.test('whatever is given, the answer is valid settings or a short SettingError', async () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('enable', 'intervaltime', 'dirtypercents', 'x'), fc.anything()),
      (input) => {
        try {
          const { intervaltime, dirtypercents } = mplmSettings(input);
          return intervaltime >= 1 && intervaltime <= 86400 && dirtypercents >= 1 && dirtypercents <= 99;
        } catch (error) {
          return error instanceof SettingError && error.message.length < 200;
        }
      },
    ),
  );
});

t.test('a policy checks its settings again, whoever made them', async (t) => {
  const guest = { pages: 10, pageSize: 4096 };
  t.equal(createPolicy(guest, DEFAULT_MPLM_SETTINGS, 300).kind, 'mplm');
  t.equal(createPolicy(guest, mplmSettings({ enable: false }), 300).kind, 'precopy');
  t.throws(() => createPolicy(guest, { ...DEFAULT_MPLM_SETTINGS, dirtypercents: 100 }, 300), SettingError);
  t.throws(() => createPolicy(guest, mplmSettings({ enable: false }), -1), {
    name: 'SettingError',
    parameter: 'downtime-limit',
  });
  t.throws(() => createPolicy({ pages: 0, pageSize: 4096 }, DEFAULT_MPLM_SETTINGS, 300), RangeError);
  t.throws(() => createPolicy({ pages: 1, pageSize: 0 }, DEFAULT_MPLM_SETTINGS, 300), RangeError);
});
