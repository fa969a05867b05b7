/**
 * Unpacks the ELF kernel inside a bzImage, as the kernel's own scripts/extract-vmlinux does: it looks for the magic of each
 * compression, unpacks what follows, and takes the first that gives an ELF.
 *
 *   node extract_vmlinux.mjs BZIMAGE VMLINUX
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const FORMATS = [
  { tool: 'lz4', magic: [0x02, 0x21, 0x4c, 0x18] },
  { tool: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { tool: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { tool: 'gzip', magic: [0x1f, 0x8b, 0x08] },
];
const ELF = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
const MAX_BYTES = 2 ** 29;

function unpack(image) {
  for (const { tool, magic } of FORMATS) {
    const bytes = Buffer.from(magic);
    for (let at = image.indexOf(bytes); at >= 0; at = image.indexOf(bytes, at + 1)) {
      // The tools complain of what follows the compressed part, after having written all of it.
      const { stdout } = spawnSync(tool, ['-dc'], { input: image.subarray(at), maxBuffer: MAX_BYTES });
      if (stdout?.subarray(0, 4).equals(ELF)) return stdout;
    }
  }
  throw new Error('no ELF kernel inside the bzImage');
}

const [bzImage, vmlinux] = process.argv.slice(2);
if (!vmlinux) throw new Error('usage: extract_vmlinux.mjs BZIMAGE VMLINUX');
writeFileSync(vmlinux, unpack(readFileSync(bzImage)));
