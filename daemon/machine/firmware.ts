/**
 * What a vCPU finds when it leaves reset: the end of a read-only image that ends at 4 GiB, and its last part once more below 1 MiB.
 * See QEMU's hw/i386/x86.c, x86_bios_rom_init.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { GuestRam } from '../../kvm/guest_ram.js';

const KIB = 1024;
const UNIT_BYTES = 64 * KIB;
/** What there is room for between KVM's own pages and 4 GiB. */
const MAX_BYTES = 16 * 1024 * KIB;
const SHADOW_END = 0x100000;
const SHADOW_MAX_BYTES = 128 * KIB;

/** `1: cli; hlt; jmp 1b` */
const IDLE_CODE = [0xfa, 0xf4, 0xeb, 0xfc];
const RESET_VECTOR = 0xfff0;

/** An image, and what tells it from another. */
export interface Firmware {
  readonly image: Uint8Array;
  readonly digest: string;
}

function firmware(image: Uint8Array): Firmware {
  return { image, digest: createHash('sha256').update(image).digest('hex') };
}

/** The firmware of a machine that was given none: a guest that runs and does nothing. */
export function idleFirmware(): Firmware {
  const image = new Uint8Array(UNIT_BYTES);
  image.set(IDLE_CODE, RESET_VECTOR);
  return firmware(image);
}

/** Reads `-bios`. @throws Error that names the file and what is wrong with it */
export function readFirmware(path: string): Firmware {
  const refuse = (why: string) => new Error(`could not load PC BIOS '${path}': ${why}`);
  let image: Uint8Array;
  try {
    image = readFileSync(path);
  } catch (error) {
    throw refuse((error as Error).message);
  }
  if (image.length === 0 || image.length % UNIT_BYTES !== 0 || image.length > MAX_BYTES) {
    throw refuse(`it has ${image.length} bytes, not a multiple of 64 KiB from 64 KiB to 16 MiB`);
  }
  return firmware(image);
}

/** Copies the image's last 128 KiB to where real mode finds them. Other than the image itself they are RAM, which the guest may change. */
export function shadowFirmware({ image }: Firmware, ram: GuestRam): void {
  const shadow = image.subarray(-SHADOW_MAX_BYTES);
  ram.write(SHADOW_END - shadow.length, shadow);
}
