/** How bytes go over an fd: by its kind. */
import { MessageBuffer, type Received } from '../../kvm/fd_passing.js';
import * as libc from '../../kvm/libc_unsafe.js';
import { endSending, MSG_DONTWAIT, MSG_NOSIGNAL } from '../../kvm/sockets.js';

export interface FdIo {
  /** What is there, empty at the end; or `-errno`. */
  receive(fd: number): Received | number;
  /** How many bytes went; or `-errno`. */
  send(fd: number, bytes: Uint8Array): number;
  /** Nothing more will be written. */
  endWriting(fd: number): void;
}

/** One for all sockets: calls do not overlap on one thread. */
let buffer: MessageBuffer | undefined;

export const socketIo: FdIo = {
  receive: (fd) => {
    buffer ??= new MessageBuffer();
    return buffer.receive(fd);
  },
  send: (fd, bytes) => libc.sendBytes(fd, bytes, MSG_DONTWAIT | MSG_NOSIGNAL),
  endWriting: endSending,
};
