import fc from 'fast-check';
import t from 'tap';
import { PageSamples, pageHash } from '../../../daemon/dirty_rate/page_samples.js';
import { GuestRam, PAGE_SIZE } from '../../../kvm/guest_ram.js';

const MIB = 2 ** 20;

t.test('a page that differs in one bit has another hash', async (t) => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.integer()), fc.nat(1023), fc.nat(31), (stream, word, bit) => {
      const page = Uint32Array.from({ length: 1024 }, () => stream.next().value);
      const before = pageHash(page);
      page[word] = (page[word] as number) ^ (1 << bit);
      return pageHash(page) !== before;
    }),
  );
  t.equal(pageHash(new Uint32Array(1024)), pageHash(new Uint32Array(1024)));
});

t.test('the rate is that of what changed, whatever was there before; looking gives no page memory', async (t) => {
  using ram = GuestRam.create(64 * MIB);
  ram.write(0, new Uint8Array(16 * MIB).fill(7));
  const samples = new PageSamples(ram, 16384);
  t.equal(samples.rate(1000), 0);
  const populated = () => [...ram.populated()];
  t.same(populated(), [[0, (16 * MIB) / PAGE_SIZE]]);
  ram.write(8 * MIB, new Uint8Array(16 * MIB).fill(9)); // half of it untouched before
  ram.write(48 * MIB, new Uint8Array(8 * MIB)); // zeros are what was there
  const rate = samples.rate(2000);
  t.ok(rate >= 6 && rate <= 10, `8 MiB a second, by samples: ${rate}`);
  t.equal(new PageSamples(ram, 1).rate(1000), -1, 'too small for a sample');
});
