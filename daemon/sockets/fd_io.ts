/** How bytes go over an fd: by its kind. */
import { MessageBuffer, type Received } from '../../kvm/fd_passing.js';
import * as libc from '../../kvm/libc_unsafe.js';
import { endSending, MSG_DONTWAIT, MSG_NOSIGNAL } from '../../kvm/sockets.js';

const EIO = 5;
const FILE_BYTES = 16384;

export interface FdIo {
  /** The end of its input is the end of a peer. Where it is not, nothing more comes, and that is all. */
  readonly endsWithPeer: boolean;
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
  endsWithPeer: true,
  receive: (fd) => {
    buffer ??= new MessageBuffer();
    return buffer.receive(fd);
  },
  send: (fd, bytes) => libc.sendBytes(fd, bytes, MSG_DONTWAIT | MSG_NOSIGNAL),
  endWriting: endSending,
};

/** FIFOs, terminals and files. */
export const fileIo: FdIo = {
  endsWithPeer: false,
  receive: (fd) => {
    const bytes = Buffer.allocUnsafe(FILE_BYTES);
    const n = libc.read(fd, bytes);
    // A terminal that was hung up.
    if (n === -EIO) return { bytes: bytes.subarray(0, 0), fds: [], truncated: false };
    return n < 0 ? n : { bytes: bytes.subarray(0, n), fds: [], truncated: false };
  },
  send: libc.write,
  endWriting: () => undefined,
};
