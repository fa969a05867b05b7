/** Chardevs of two fds, one for each direction: standard input and output, FIFOs. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { causeOf } from '../../kvm/errors.js';
import { openStandard } from '../../kvm/standard_fds.js';
import { fileIo, socketIo } from '../sockets/fd_io.js';
import { FdStream } from '../sockets/fd_stream.js';
import type { OpenSource } from './source.js';

const CTRL_C = 3;

/** A copy of one of the standard fds. @throws SysError */
function standard(fd: 0 | 1): number {
  const kind = fstatSync(fd);
  return openStandard(fd, fd, kind.isFIFO() || isatty(fd));
}

/** The daemon's standard input and output. A terminal is put into raw mode, so that whoever reads gets every key but Ctrl-C. */
export const openStdio: OpenSource = async (offer) => {
  const terminal = isatty(0);
  if (terminal) process.stdin.setRawMode(true);
  const io = fstatSync(0).isSocket() ? socketIo : fileIo;
  const input = standard(0);
  let output: number;
  try {
    output = standard(1);
  } catch (error) {
    closeSync(input);
    throw error;
  }
  const stream = new FdStream(
    { input, output },
    {
      endsWithPeer: false,
      receive: (fd) => {
        const received = io.receive(fd);
        // Raw mode takes Ctrl-C its meaning; as with QEMU's stdio it ends the daemon.
        if (terminal && typeof received === 'object' && received.bytes.includes(CTRL_C))
          process.kill(process.pid, 'SIGINT');
        return received;
      },
      send: fstatSync(1).isSocket() ? socketIo.send : fileIo.send,
      endWriting: () => undefined,
    },
  );
  offer(stream);
  return {
    filename: () => 'stdio',
    close: () => {
      if (terminal) process.stdin.setRawMode(false);
    },
  };
};

/** `path`.in and `path`.out, or `path` for both where these are not there (chardev/char-pipe.c): FIFOs, which must be there. */
export function openPipe(path: string): OpenSource {
  return async (offer) => {
    // Opened for both directions, neither open waits for the other side, and its going is no end.
    const open = (name: string) => openSync(name, constants.O_RDWR | constants.O_NONBLOCK);
    let input: number;
    let output: number;
    try {
      input = open(`${path}.in`);
      try {
        output = open(`${path}.out`);
      } catch (error) {
        closeSync(input);
        throw error;
      }
    } catch {
      try {
        input = open(path);
      } catch (error) {
        throw new Error(`Could not open '${path}': ${causeOf(error)}`, { cause: error });
      }
      output = input;
    }
    offer(new FdStream({ input, output }, fileIo));
    return { filename: () => 'pipe', close: () => undefined };
  };
}
