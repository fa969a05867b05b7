// The Linux/x86 boot protocol, its 64-bit entry: Documentation/arch/x86/boot.rst, Documentation/arch/x86/zero-page.rst,
// struct setup_header and struct boot_params in arch/x86/include/uapi/asm/bootparam.h

import { BootError, hex } from './boot_error.js';
import { type BootMemory, RamClaims } from './boot_memory.js';
import { type BootState, bootGdt, GDT_BYTES, identityPageTables, longModeSregs, RFLAGS_INITIAL } from './boot_state.js';
import type { ImageFile } from './image_file.js';
import {
  CMDLINE_ADDRESS,
  CMDLINE_MAX_BYTES,
  e820,
  GDT_ADDRESS,
  PAGE_TABLES_ADDRESS,
  PAGE_TABLES_BYTES,
  RAM_HOLE_START,
  ZERO_PAGE_ADDRESS,
} from './memory_map.js';

// Offsets, the same in the image's first sectors and in the zero page.
const SETUP_HEADER = 0x1f1;
const SETUP_SECTS = 0x1f1;
const SYSSIZE = 0x1f4;
const VID_MODE = 0x1fa;
const BOOT_FLAG = 0x1fe;
const JUMP_OFFSET = 0x201;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;
const INITRD_ADDR_MAX = 0x22c;
const KERNEL_ALIGNMENT = 0x230;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const SETUP_DATA = 0x250;
const PREF_ADDRESS = 0x258;
const INIT_SIZE = 0x260;
/** The header of protocol 2.12 ends here; later ones are longer, none may reach edd_mbr_sig_buffer. */
const HEADER_END_2_12 = 0x268;
const EDD_MBR_SIG_BUFFER = 0x290;

const E820_ENTRIES = 0x1e8;
const E820_TABLE = 0x2d0;
const E820_ENTRY_BYTES = 20;
const ZERO_PAGE_BYTES = 0x1000;

const BOOT_FLAG_VALUE = 0xaa55;
const HDRS = 0x53726448; // "HdrS"
const OLDEST_VERSION = 0x20c; // has xloadflags
const LOADED_HIGH = 1 << 0;
const XLF_KERNEL_64 = 1 << 0;
const UNDEFINED_LOADER = 0xff;
const VID_MODE_NORMAL = 0xffff;
const ENTRY_64 = 0x200;
const SECTOR = 512;
const LOWEST_KERNEL = 0x100000;

/** True if a file whose first 0x268 bytes (or all, if shorter) are `head` is a Linux/x86 kernel with a setup header. */
export function isLinuxImage(head: DataView): boolean {
  return head.byteLength >= HEADER_MAGIC + 4 && head.getUint32(HEADER_MAGIC, true) === HDRS;
}

interface SetupHeader {
  /** The bytes from 0x1f1 on that are copied into the zero page. */
  readonly bytes: Uint8Array;
  readonly kernelOffset: number;
  readonly kernelBytes: number;
  readonly loadAddress: number;
  /** Bytes from loadAddress on that the kernel uses before it reads the memory map. */
  readonly initBytes: number;
  readonly cmdlineBytes: number;
  readonly initrdLimit: number;
}

function readSetupHeader(file: ImageFile): SetupHeader {
  const head = file.read('setup header', 0, HEADER_END_2_12);
  const bootFlag = head.getUint16(BOOT_FLAG, true);
  if (bootFlag !== BOOT_FLAG_VALUE) {
    throw file.error(`its boot flag is ${hex(bootFlag)} instead of ${hex(BOOT_FLAG_VALUE)}`);
  }
  const version = head.getUint16(VERSION, true);
  if (version < OLDEST_VERSION) {
    throw file.error(`its boot protocol ${version >> 8}.${version & 0xff} is older than 2.12`);
  }
  if ((head.getUint8(LOADFLAGS) & LOADED_HIGH) === 0) {
    throw file.error('it is a zImage, which loads below 1 MiB; a bzImage is needed');
  }
  if ((head.getUint16(XLOADFLAGS, true) & XLF_KERNEL_64) === 0) {
    throw file.error('it has no 64-bit entry point (XLF_KERNEL_64)');
  }
  // The jump at 0x200 skips the header: its operand tells where the header ends.
  const headerEnd = HEADER_MAGIC + head.getUint8(JUMP_OFFSET);
  if (headerEnd < HEADER_END_2_12 || headerEnd > EDD_MBR_SIG_BUFFER) {
    throw file.error(`its setup header ends at ${hex(headerEnd)}, not within 0x268 and 0x290`);
  }
  const bytes = file.read('setup header', SETUP_HEADER, headerEnd - SETUP_HEADER);

  const kernelOffset = ((head.getUint8(SETUP_SECTS) || 4) + 1) * SECTOR;
  const kernelBytes = head.getUint32(SYSSIZE, true) * 16;
  if (kernelBytes <= ENTRY_64) {
    throw file.error(`its protected-mode code of ${kernelBytes} bytes is too short to hold the 64-bit entry point`);
  }
  file.check('protected-mode code', kernelOffset, kernelBytes);

  // A relocatable kernel moves itself to pref_address if it was loaded below, and needs init_size bytes there: so it
  // is loaded there at once, as one that cannot be relocated must be.
  const preferred = head.getBigUint64(PREF_ADDRESS, true);
  if (preferred < BigInt(LOWEST_KERNEL) || preferred >= BigInt(RAM_HOLE_START)) {
    throw file.error(`its preferred address ${hex(preferred)} is not between 1 MiB and 3 GiB`);
  }
  const alignment = head.getUint32(KERNEL_ALIGNMENT, true);
  if (alignment === 0 || (alignment & (alignment - 1)) !== 0 || Number(preferred) % alignment !== 0) {
    throw file.error(`its preferred address ${hex(preferred)} is not a multiple of its alignment ${hex(alignment)}`);
  }
  return {
    bytes: new Uint8Array(bytes.buffer),
    kernelOffset,
    kernelBytes,
    loadAddress: Number(preferred),
    initBytes: Math.max(head.getUint32(INIT_SIZE, true), kernelBytes),
    cmdlineBytes: head.getUint32(CMDLINE_SIZE, true),
    initrdLimit: head.getUint32(INITRD_ADDR_MAX, true) + 1,
  };
}

/**
 * Puts a 64-bit bzImage, its initrd and its zero page into guest RAM. `cmdline` is NUL-terminated.
 * Throws BootError; RAM may then hold parts of the images.
 */
export function loadBzImage(
  kernel: ImageFile,
  initrd: ImageFile | undefined,
  cmdline: Uint8Array,
  memory: BootMemory,
): BootState {
  const setup = readSetupHeader(kernel);
  const cmdlineMax = Math.min(setup.cmdlineBytes, CMDLINE_MAX_BYTES - 1);
  if (cmdline.byteLength - 1 > cmdlineMax) {
    throw new BootError(
      `the kernel command line is too long: ${cmdline.byteLength - 1} bytes, ${kernel.what} takes at most ${cmdlineMax}`,
    );
  }

  const claims = new RamClaims(memory.ramBytes);
  claims.claim('the boot GDT', GDT_ADDRESS, GDT_BYTES);
  claims.claim('the zero page', ZERO_PAGE_ADDRESS, ZERO_PAGE_BYTES);
  claims.claim('the boot page tables', PAGE_TABLES_ADDRESS, PAGE_TABLES_BYTES);
  claims.claim('the kernel command line', CMDLINE_ADDRESS, cmdline.byteLength);
  claims.claim(kernel.what, setup.loadAddress, setup.initBytes);
  const initrdAddress =
    initrd === undefined
      ? 0
      : claims.claimHighest(initrd.what, initrd.byteLength, LOWEST_KERNEL, Math.min(setup.initrdLimit, RAM_HOLE_START));

  kernel.loadInto(memory, 'protected-mode code', setup.kernelOffset, setup.loadAddress, setup.kernelBytes);
  initrd?.loadInto(memory, 'contents', 0, initrdAddress, initrd.byteLength);
  memory.write(CMDLINE_ADDRESS, cmdline);
  memory.write(GDT_ADDRESS, bootGdt(64));
  memory.write(PAGE_TABLES_ADDRESS, identityPageTables(PAGE_TABLES_ADDRESS));
  memory.write(ZERO_PAGE_ADDRESS, zeroPage(setup, initrdAddress, initrd?.byteLength ?? 0, memory.ramBytes));

  return {
    format: 'bzimage',
    regs: {
      rip: BigInt(setup.loadAddress + ENTRY_64),
      rsi: BigInt(ZERO_PAGE_ADDRESS),
      rflags: RFLAGS_INITIAL,
    },
    sregs: longModeSregs(PAGE_TABLES_ADDRESS),
  };
}

function zeroPage(setup: SetupHeader, initrdAddress: number, initrdBytes: number, ramBytes: number): Uint8Array {
  const bytes = new Uint8Array(ZERO_PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(setup.bytes, SETUP_HEADER);
  view.setUint16(VID_MODE, VID_MODE_NORMAL, true);
  view.setUint8(TYPE_OF_LOADER, UNDEFINED_LOADER);
  view.setUint32(CODE32_START, setup.loadAddress, true);
  view.setUint32(RAMDISK_IMAGE, initrdAddress, true);
  view.setUint32(RAMDISK_SIZE, initrdBytes, true);
  view.setUint32(CMD_LINE_PTR, CMDLINE_ADDRESS, true);
  // A list of ours, of which there is none: what the image holds here is not an address in this guest.
  view.setBigUint64(SETUP_DATA, 0n, true);
  const map = e820(ramBytes);
  view.setUint8(E820_ENTRIES, map.length);
  for (const [i, range] of map.entries()) {
    const at = E820_TABLE + i * E820_ENTRY_BYTES;
    view.setBigUint64(at, BigInt(range.start), true);
    view.setBigUint64(at + 8, BigInt(range.byteLength), true);
    view.setUint32(at + 16, range.type, true);
  }
  return bytes;
}
