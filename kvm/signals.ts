/** The signal that brings a thread out of KVM_RUN. */
import { check } from './errors.js';
import * as libc from './libc_unsafe.js';

/** SIGRTMIN + 1 of glibc (signal(7)): real-time, used by nothing else here. */
export const KICK_SIGNAL = 35;
const SA_RESTART = 0x1000_0000;
const ESRCH = 3;

/**
 * Installs, for the whole process, a handler for KICK_SIGNAL that does nothing of note: libc's own `getpid`, which is
 * async-signal-safe and ignores its argument. SA_RESTART spares other threads' system calls; KVM_RUN returns
 * EINTR all the same.
 */
export function installKickHandler(): void {
  const handler = libc.symbolAddress('getpid');
  if (handler === 0) throw new Error('the C library has no symbol getpid');
  const action = new DataView(new ArrayBuffer(152)); // struct sigaction, x86-64 glibc
  action.setBigUint64(0, BigInt(handler), true);
  action.setInt32(136, SA_RESTART, true);
  check('sigaction', libc.sigaction(KICK_SIGNAL, action), `signal ${KICK_SIGNAL}`);
}

/** Interrupts what a thread of this process is blocked in. A thread that has ended is no error. */
export function kickThread(threadId: number): void {
  const rc = libc.tgkill(libc.getpid(), threadId, KICK_SIGNAL);
  if (rc !== -ESRCH) check('tgkill', rc, `thread ${threadId}`);
}
