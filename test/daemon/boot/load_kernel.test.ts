import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadKernel } from '../../../daemon/boot/load_kernel.js';
import { BufferMemory, ImageDirectory, makeElf } from './images.js';

const MIB = 1024 * 1024;
const dir = new ImageDirectory();
t.teardown(() => dir[Symbol.dispose]());
const memory = new BufferMemory(4 * MIB);

t.test('files that cannot be opened are named with the reason, as QEMU does', async (t) => {
  t.throws(() => loadKernel({ kernelPath: '/nonexistent/vmlinuz', cmdline: '', memory }), {
    name: 'BootError',
    message: "could not open kernel file '/nonexistent/vmlinuz': No such file or directory",
  });
  const kernelPath = dir.file('vmlinux', makeElf());
  t.throws(() => loadKernel({ kernelPath, initrdPath: '/nonexistent/initrd', cmdline: '', memory }), {
    name: 'BootError',
    message: "could not open initrd file '/nonexistent/initrd': No such file or directory",
  });
});

t.test('a directory, a FIFO, an empty file and text are refused without blocking', async (t) => {
  t.throws(() => loadKernel({ kernelPath: dir.path, cmdline: '', memory }), {
    name: 'BootError',
    message: `could not load kernel file '${dir.path}': it is not a regular file`,
  });
  const fifo = join(dir.path, 'fifo');
  execFileSync('mkfifo', [fifo]);
  t.throws(() => loadKernel({ kernelPath: fifo, cmdline: '', memory }), { message: /not a regular file/ });
  for (const text of ['', 'x', 'not a kernel\n'.repeat(100)]) {
    const path = dir.file('text', Buffer.from(text));
    t.throws(() => loadKernel({ kernelPath: path, cmdline: '', memory }), {
      name: 'BootError',
      message: /neither an ELF file nor a Linux bzImage/,
    });
  }
  const initrdPath = dir.file('empty', Buffer.alloc(0));
  t.throws(() => loadKernel({ kernelPath: dir.file('vmlinux', makeElf()), initrdPath, cmdline: '', memory }), {
    message: `could not load initrd file '${initrdPath}': it is empty`,
  });
});

t.test('no file stays open, whether loading succeeds or fails', async (t) => {
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  const kernelPath = dir.file('vmlinux', makeElf());
  const initrdPath = dir.file('initrd', Buffer.alloc(10));
  for (let i = 0; i < 5; i++) {
    loadKernel({ kernelPath, initrdPath, cmdline: '', memory });
    t.throws(() => loadKernel({ kernelPath: initrdPath, initrdPath, cmdline: '', memory }));
    t.throws(() => loadKernel({ kernelPath, initrdPath: dir.path, cmdline: '', memory }));
  }
  t.equal(open(), before);
});

const realKernel = process.env.VMHOSTD_TEST_KERNEL;
t.test(
  'a distribution kernel loads and is entered where its own header says',
  { skip: realKernel === undefined && 'set VMHOSTD_TEST_KERNEL to a bzImage or PVH vmlinux' },
  async (t) => {
    const ram = new BufferMemory(256 * MIB);
    const state = loadKernel({ kernelPath: realKernel!, cmdline: 'console=ttyS0', memory: ram });
    t.ok(state.regs.rip! >= 0x100000n);
    t.not(ram.read(Number(state.regs.rip), 16).toString('hex'), 'cc'.repeat(16), 'code is at the entry point');
  },
);
