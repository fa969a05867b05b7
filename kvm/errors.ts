import os from 'node:os';
import * as libc from './libc_unsafe.js';

/** Second names of an errno; the first is the kernel's (include/uapi/asm-generic/errno.h). */
const ALIASES = new Set(['EWOULDBLOCK', 'ENOTSUP']);
const names = new Map<number, string>(
  Object.entries(os.constants.errno).flatMap(([name, value]) => (ALIASES.has(name) ? [] : [[value, name] as const])),
);

/** The kernel's name of an errno value (`ENOENT`), or `errno N` where it has none. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** What an errno means, in the C library's words (`No such file or directory`). */
export function strerror(errno: number): string {
  return libc.strerror(errno);
}

/** Why a call failed, ours or Node's: its errno in the C library's words, or the error's own message where it has none. */
export function causeOf(error: unknown): string {
  const { errno, message } = error as { errno?: number; message: string };
  // Node's are negative.
  return errno === undefined ? message : strerror(Math.abs(errno));
}

/** A system call that failed: which, with what errno, and on what. */
export class SysError extends Error {
  readonly syscall: string;
  readonly errno: number;
  readonly code: string;

  /**
   * @param syscall name as in section 2 of the manual; for an ioctl, the request's name (`KVM_CREATE_VM`)
   * @param errno positive errno
   * @param about what it was done to, put in front of the cause
   */
  constructor(syscall: string, errno: number, about?: string) {
    const code = errnoName(errno);
    super(`${about ? `${about}: ` : ''}${syscall} failed: ${strerror(errno)} (${code})`);
    this.name = 'SysError';
    this.syscall = syscall;
    this.errno = errno;
    this.code = code;
  }
}

/** A KVM capability this host lacks and the work at hand needs. */
export class MissingCapabilityError extends Error {
  readonly capability: string;

  constructor(capability: string, neededFor: string) {
    super(`this host's KVM lacks ${capability}, needed ${neededFor}`);
    this.name = 'MissingCapabilityError';
    this.capability = capability;
  }
}

/** Returns `rc` when it is no error, else throws the `SysError` for `-rc` (kernel style: `-errno`). */
export function check(syscall: string, rc: number, about?: string): number {
  if (rc < 0) throw new SysError(syscall, -rc, about);
  return rc;
}
