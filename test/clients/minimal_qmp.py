"""A QMP client as scripts have it: a socket, a file around it, a line a message."""
import json
import socket
import sys
import time


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile()
        self.events = []
        greeting = json.loads(self.file.readline())
        assert "QMP" in greeting, greeting
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while True:
            message = json.loads(self.file.readline())
            if "event" in message:
                self.events.append(message["event"])
            elif "error" in message:
                raise RuntimeError(message["error"]["desc"])
            else:
                return message["return"]


qmp = Qmp(sys.argv[1])
print(qmp.command("query-status")["status"])
qmp.command("stop")
print(qmp.events.pop())
print(qmp.command("query-status")["status"])
qmp.command("cont")
print(qmp.events.pop())
try:
    qmp.command("nope")
except RuntimeError as error:
    print("refused:", error)
qmp.command("migrate", uri=sys.argv[2])
while qmp.command("query-migrate")["status"] in ("setup", "active", "device"):
    time.sleep(0.05)
print(qmp.command("query-migrate")["status"])
