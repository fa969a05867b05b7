import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { idleFirmware, readFirmware, shadowFirmware } from '../../../daemon/machine/firmware.js';
import { GuestRam } from '../../../kvm/guest_ram.js';

const KIB = 1024;

t.test('an image is a multiple of 64 KiB, up to 16 MiB, or is refused by name with its size', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-firmware-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'image');
  const bytes = (length: number) => {
    writeFileSync(path, '');
    truncateSync(path, length);
    return path;
  };
  for (const length of [0, 1, 64 * KIB - 1, 64 * KIB + 512, (16 * KIB + 64) * KIB]) {
    t.throws(() => readFirmware(bytes(length)), {
      message: `could not load PC BIOS '${path}': it has ${length} bytes, not a multiple of 64 KiB from 64 KiB to 16 MiB`,
    });
  }
  t.throws(() => readFirmware(join(dir, 'none')), { message: /^could not load PC BIOS '.*none': ENOENT/ });
  for (const length of [64 * KIB, 16 * KIB * KIB]) t.equal(readFirmware(bytes(length)).image.length, length);
  t.end();
});

t.test('images are told apart by their digest', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vmhostd-firmware-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'image');
  const { image, digest } = idleFirmware();
  writeFileSync(path, image);
  t.equal(readFirmware(path).digest, digest);
  writeFileSync(path, image.with(100, 1));
  t.not(readFirmware(path).digest, digest);
  t.end();
});

t.test('the last 128 KiB of an image end at 1 MiB too', (t) => {
  using ram = GuestRam.create(KIB * KIB);
  const image = new Uint8Array(256 * KIB).fill(1, 0, 128 * KIB).fill(2, 128 * KIB);
  shadowFirmware({ image, digest: '' }, ram);
  t.same(
    [0xdffff, 0xe0000, 0xfffff].map((gpa) => ram.read(gpa, 1)[0]),
    [0, 2, 2],
  );
  t.end();
});
