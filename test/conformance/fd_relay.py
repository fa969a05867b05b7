"""Relays standard input to a UNIX socket and back. Standard input holds `S LENGTH\n` and so many bytes to send, or
`F LENGTH\n` and bytes that are sent along with the write end of a pipe; what comes through that pipe is thrown away."""
import array
import os
import socket
import sys
import threading


def drain(fd):
    while os.read(fd, 65536):
        pass


def back(peer):
    while True:
        try:
            data = peer.recv(65536)
        except OSError:
            data = b""
        if not data:
            os._exit(0)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def main():
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1])
    threading.Thread(target=back, args=(peer,)).start()
    source = sys.stdin.buffer
    for head in iter(source.readline, b""):
        kind, length = head.split()
        data = source.read(int(length))
        if kind == b"F":
            reader, writer = os.pipe()
            threading.Thread(target=drain, args=(reader,), daemon=True).start()
            peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))])
            os.close(writer)
        else:
            peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


main()
