/**
 * The C library's functions this project calls, through koffi.
 *
 * Every function here returns what the system call returns, or `-errno` (the kernel's own convention), so that errno is
 * read in one place, in the statement after the call. Addresses are JavaScript numbers: user space ends below 2^47.
 *
 * SAFETY, for the whole file: where a function takes an address, the caller keeps that memory mapped for the whole
 * call and as large as the length it gives; where it takes a typed array, koffi hands the kernel its backing store, which does not
 * move, and the kernel is done with it when the call returns.
 */
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');

/** A buffer that the kernel reads or fills during the call. */
export type Bytes = Uint8Array | DataView;

type Raw = (...args: unknown[]) => number | bigint;

function result(rc: number | bigint): number {
  const value = Number(rc);
  return value < 0 ? -koffi.errno() : value;
}

function bind(prototype: string): Raw {
  return libc.func(prototype) as Raw;
}

const raw = {
  open: bind('int open(const char *path, int flags, int mode)'),
  close: bind('int close(int fd)'),
  ioctl: bind('int ioctl(int fd, unsigned long request, uintptr_t argument)'),
  ioctlBytes: bind('int ioctl(int fd, unsigned long request, void *argument)'),
  mmap: bind('intptr_t mmap(uintptr_t address, size_t length, int prot, int flags, int fd, int64_t offset)'),
  munmap: bind('int munmap(uintptr_t address, size_t length)'),
  madvise: bind('int madvise(uintptr_t address, size_t length, int advice)'),
  memfd_create: bind('int memfd_create(const char *name, unsigned int flags)'),
  ftruncate: bind('int ftruncate(int fd, int64_t length)'),
  fallocate: bind('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  fcntl: bind('int fcntl(int fd, int command, uintptr_t argument)'),
  fcntlBytes: bind('int fcntl(int fd, int command, void *argument)'),
  dup2: bind('int dup2(int fd, int to)'),
  lseek: bind('int64_t lseek(int fd, int64_t offset, int whence)'),
  eventfd: bind('int eventfd(unsigned int initval, int flags)'),
  read: bind('intptr_t read(int fd, void *buffer, size_t length)'),
  write: bind('intptr_t write(int fd, void *buffer, size_t length)'),
  pread: bind('intptr_t pread(int fd, uintptr_t address, size_t length, int64_t offset)'),
  preadBytes: bind('intptr_t pread(int fd, void *buffer, size_t length, int64_t offset)'),
  socket: bind('int socket(int domain, int type, int protocol)'),
  bind: bind('int bind(int fd, void *address, unsigned int length)'),
  listen: bind('int listen(int fd, int backlog)'),
  accept4: bind('int accept4(int fd, uintptr_t address, uintptr_t length, int flags)'),
  connect: bind('int connect(int fd, void *address, unsigned int length)'),
  shutdown: bind('int shutdown(int fd, int how)'),
  getsockname: bind('int getsockname(int fd, void *address, void *length)'),
  getpeername: bind('int getpeername(int fd, void *address, void *length)'),
  getsockopt: bind('int getsockopt(int fd, int level, int name, void *value, void *length)'),
  setsockopt: bind('int setsockopt(int fd, int level, int name, void *value, unsigned int length)'),
  send: bind('intptr_t send(int fd, uintptr_t address, size_t length, int flags)'),
  recv: bind('intptr_t recv(int fd, uintptr_t address, size_t length, int flags)'),
  sendmsg: bind('intptr_t sendmsg(int fd, uintptr_t message, int flags)'),
  recvmsg: bind('intptr_t recvmsg(int fd, uintptr_t message, int flags)'),
  sendBytes: bind('intptr_t send(int fd, void *buffer, size_t length, int flags)'),
  epoll_create1: bind('int epoll_create1(int flags)'),
  epoll_ctl: bind('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
  sendfile: bind('intptr_t sendfile(int out, int in, void *offset, size_t count)'),
  pipe2: bind('int pipe2(void *fds, int flags)'),
  readv: bind('intptr_t readv(int fd, uintptr_t vector, int count)'),
  writev: bind('intptr_t writev(int fd, uintptr_t vector, int count)'),
  fdatasync: bind('int fdatasync(int fd)'),
  poll: bind('int poll(void *fds, unsigned long count, int timeout)'),
  sigaction: bind('int sigaction(int signal, void *action, uintptr_t old)'),
  tgkill: bind('int tgkill(int process, int thread, int signal)'),
  getpid: bind('int getpid()'),
  gettid: bind('int gettid()'),
  dlsym: bind('uintptr_t dlsym(intptr_t handle, const char *name)'),
  strerror: libc.func('const char *strerror(int errnum)') as (errnum: number) => string,
  exit: libc.func('void _exit(int status)') as (status: number) => void,
};

export const open = (path: string, flags: number, mode = 0): number => result(raw.open(path, flags, mode));
export const close = (fd: number): number => result(raw.close(fd));
/** ioctl with an integer or an address. */
export const ioctl = (fd: number, request: number, argument = 0): number => result(raw.ioctl(fd, request, argument));
/** ioctl with a buffer that the kernel reads and may fill. */
export const ioctlBytes = (fd: number, request: number, argument: Bytes): number =>
  result(raw.ioctlBytes(fd, request, argument));
export const mmap = (
  address: number,
  length: number,
  prot: number,
  flags: number,
  fd: number,
  offset: number,
): number => result(raw.mmap(address, length, prot, flags, fd, offset));
export const munmap = (address: number, length: number): number => result(raw.munmap(address, length));
export const madvise = (address: number, length: number, advice: number): number =>
  result(raw.madvise(address, length, advice));
export const memfd_create = (name: string, flags: number): number => result(raw.memfd_create(name, flags));
export const ftruncate = (fd: number, length: number): number => result(raw.ftruncate(fd, length));
export const fallocate = (fd: number, mode: number, offset: number, length: number): number =>
  result(raw.fallocate(fd, mode, offset, length));
/** fcntl with an integer. */
export const fcntl = (fd: number, command: number, argument: number): number =>
  result(raw.fcntl(fd, command, argument));
/** fcntl with a buffer that the kernel reads and may fill. */
export const fcntlBytes = (fd: number, command: number, argument: Bytes): number =>
  result(raw.fcntlBytes(fd, command, argument));
export const dup2 = (fd: number, to: number): number => result(raw.dup2(fd, to));
export const lseek = (fd: number, offset: number, whence: number): number => result(raw.lseek(fd, offset, whence));
export const eventfd = (initval: number, flags: number): number => result(raw.eventfd(initval, flags));
export const read = (fd: number, buffer: Bytes): number => result(raw.read(fd, buffer, buffer.byteLength));
export const write = (fd: number, buffer: Bytes): number => result(raw.write(fd, buffer, buffer.byteLength));
/** pread into an address. */
export const pread = (fd: number, address: number, length: number, offset: number): number =>
  result(raw.pread(fd, address, length, offset));
export const preadBytes = (fd: number, buffer: Bytes, offset: number): number =>
  result(raw.preadBytes(fd, buffer, buffer.byteLength, offset));
export const socket = (domain: number, type: number, protocol: number): number =>
  result(raw.socket(domain, type, protocol));
export const bindSocket = (fd: number, address: Bytes): number => result(raw.bind(fd, address, address.byteLength));
export const listen = (fd: number, backlog: number): number => result(raw.listen(fd, backlog));
export const accept4 = (fd: number, flags: number): number => result(raw.accept4(fd, 0, 0, flags));
export const connect = (fd: number, address: Bytes): number => result(raw.connect(fd, address, address.byteLength));
export const shutdown = (fd: number, how: number): number => result(raw.shutdown(fd, how));
export const getsockname = (fd: number, address: Bytes, length: Bytes): number =>
  result(raw.getsockname(fd, address, length));
export const getpeername = (fd: number, address: Bytes, length: Bytes): number =>
  result(raw.getpeername(fd, address, length));
export const getsockopt = (fd: number, level: number, name: number, value: Bytes, length: Bytes): number =>
  result(raw.getsockopt(fd, level, name, value, length));
export const setsockopt = (fd: number, level: number, name: number, value: Bytes): number =>
  result(raw.setsockopt(fd, level, name, value, value.byteLength));
export const send = (fd: number, address: number, length: number, flags: number): number =>
  result(raw.send(fd, address, length, flags));
export const recv = (fd: number, address: number, length: number, flags: number): number =>
  result(raw.recv(fd, address, length, flags));
/** `message` is the address of a `struct msghdr`. */
export const sendmsg = (fd: number, message: number, flags: number): number => result(raw.sendmsg(fd, message, flags));
/** `message` is the address of a `struct msghdr`. */
export const recvmsg = (fd: number, message: number, flags: number): number => result(raw.recvmsg(fd, message, flags));
/** send(2) of a buffer. */
export const sendBytes = (fd: number, buffer: Bytes, flags: number): number =>
  result(raw.sendBytes(fd, buffer, buffer.byteLength, flags));
export const epoll_create1 = (flags: number): number => result(raw.epoll_create1(flags));
/** `event` is a `struct epoll_event`. */
export const epoll_ctl = (epoll: number, operation: number, fd: number, event: Bytes): number =>
  result(raw.epoll_ctl(epoll, operation, fd, event));
/** `offset` holds the s64 file offset; the kernel advances it. */
export const sendfile = (out: number, input: number, offset: Bytes, count: number): number =>
  result(raw.sendfile(out, input, offset, count));
/** `fds` is two s32: the end to read from, the end to write to. */
export const pipe2 = (fds: Bytes, flags: number): number => result(raw.pipe2(fds, flags));
/** `vector` is the address of an array of `struct iovec`. */
export const readv = (fd: number, vector: number, count: number): number => result(raw.readv(fd, vector, count));
/** `vector` as for readv. */
export const writev = (fd: number, vector: number, count: number): number => result(raw.writev(fd, vector, count));
export const fdatasync = (fd: number): number => result(raw.fdatasync(fd));
/** `fds` is an array of `struct pollfd`. */
export const poll = (fds: Bytes, timeoutMs: number): number => result(raw.poll(fds, fds.byteLength / 8, timeoutMs));
export const sigaction = (signal: number, action: Bytes): number => result(raw.sigaction(signal, action, 0));
export const tgkill = (process: number, thread: number, signal: number): number =>
  result(raw.tgkill(process, thread, signal));
export const getpid = (): number => Number(raw.getpid());
export const gettid = (): number => Number(raw.gettid());
/** Address of a symbol of this process; 0 where there is none. */
export const symbolAddress = (name: string): number => Number(raw.dlsym(0, name));
/** What an errno means. */
export const strerror = (errno: number): string => raw.strerror(errno);
/** Ends the process at once: no exit handlers, no waiting for threads. */
export const exitNow = (status: number): void => raw.exit(status);

/** An ArrayBuffer over `length` bytes at `address`; the caller keeps that memory mapped for as long as any view of it is used. */
export function viewAt(address: number, length: number): ArrayBuffer {
  return koffi.view(BigInt(address), length);
}
