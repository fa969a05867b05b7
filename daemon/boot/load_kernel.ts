import { BootError } from './boot_error.js';
import type { BootMemory } from './boot_memory.js';
import type { BootState } from './boot_state.js';
import { isLinuxImage, loadBzImage } from './bzimage.js';
import { isElf } from './elf.js';
import { ImageFile } from './image_file.js';
import { loadPvh } from './pvh.js';

/** Paths of the images, the kernel's command line (without NUL), and the RAM that takes them. */
export interface LoadKernelOptions {
  readonly kernelPath: string;
  readonly initrdPath?: string | undefined;
  readonly cmdline: string;
  readonly memory: BootMemory;
}

/** Enough to tell every supported format: the Linux setup header ends its magic at 0x206. */
const HEAD_BYTES = 0x268;

/**
 * Loads a kernel and its initrd into guest RAM and returns the state in which its first vCPU enters it. A PVH ELF
 * kernel and a 64-bit Linux bzImage are told apart by their magic. Files may come from anywhere: whatever they hold,
 * nothing outside RAM is written, and every fault is a BootError. May be called again to boot anew.
 */
export function loadKernel(options: LoadKernelOptions): BootState {
  const { memory } = options;
  if (options.cmdline.includes('\0')) {
    throw new BootError('the kernel command line contains a NUL character');
  }
  const cmdline = new TextEncoder().encode(`${options.cmdline}\0`);
  const kernel = ImageFile.open('kernel', options.kernelPath);
  try {
    const initrd = options.initrdPath === undefined ? undefined : openInitrd(options.initrdPath);
    try {
      const head = kernel.read('first bytes', 0, Math.min(HEAD_BYTES, kernel.byteLength));
      if (isElf(head)) {
        return loadPvh(kernel, initrd, cmdline, memory);
      }
      if (isLinuxImage(head)) {
        return loadBzImage(kernel, initrd, cmdline, memory);
      }
      throw kernel.error('it is neither an ELF file nor a Linux bzImage');
    } finally {
      initrd?.[Symbol.dispose]();
    }
  } finally {
    kernel[Symbol.dispose]();
  }
}

function openInitrd(path: string): ImageFile {
  const initrd = ImageFile.open('initrd', path);
  if (initrd.byteLength === 0) {
    initrd[Symbol.dispose]();
    throw initrd.error('it is empty');
  }
  return initrd;
}
