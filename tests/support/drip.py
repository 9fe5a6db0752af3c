"""Clients that are as slow as can be: thousands of connections, a byte a second each.

    with Drip(engine.address, 5000, engine.token()) as drip:
        ...                      # all of them are open and sending
    drip.told                    # {"sent": bytes, "cut": connections, "cpu_share": of one core}

They run in a process of their own, so that they cost the test as little as they can; what they
cost the machine is told. A third of them never ends its head, a third its body, a third its body
in chunks. A connection that the server closes is counted and, with `again`, opened anew.
"""

import contextlib
import itertools
import json
import os
import selectors
import socket
import subprocess
import sys
import time

TURN_S = 0.01
TURNS_A_SECOND = 100


class Drip:
    def __init__(self, address, connections, token, again=False):
        self.arguments = [address, str(connections), token, "again" if again else "once"]
        self.told = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "open\n", "the slow clients did not connect"
        return self

    def __exit__(self, *fault):
        told, _ = self.process.communicate(timeout=60)  # it ends when its input does
        if self.process.returncode == 0:
            self.told = json.loads(told)
        assert self.process.returncode == 0 or fault[0], f"the slow clients failed: {told}"


def openings(token):
    """What a connection begins with, in turn; what follows is one byte a second."""
    post = f"POST /analytics HTTP/1.1\r\nHost: slow\r\nAuthorization: Bearer {token}\r\n"
    return [
        b"POST /analytics HTTP/1.1\r\nHost: slow\r\nX-Slow: ",
        (post + "Content-Length: 100000\r\n\r\n").encode(),
        (post + "Transfer-Encoding: chunked\r\n\r\n186a0\r\n").encode(),
    ]


class Clients:
    def __init__(self, address, token, again):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.openings = itertools.cycle(openings(token))
        self.again = again
        self.sockets = []
        self.sent = self.cut = 0

    def connect(self):
        one = socket.create_connection(self.address, 30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.sendall(next(self.openings))
        one.setblocking(False)
        return one

    def closed(self, at):
        """The server has closed this one."""
        self.cut += 1
        self.sockets[at].close()
        self.sockets[at] = self.connect() if self.again else None

    def drip(self, share):
        """A byte on every hundredth connection."""
        for at in range(share, len(self.sockets), TURNS_A_SECOND):
            one = self.sockets[at]
            if one is None:
                continue
            try:
                self.sent += one.send(b"x")
            except BlockingIOError:
                continue
            except OSError:
                self.closed(at)


def main(address, connections, token, again):
    clients = Clients(address, token, again == "again")
    for _ in range(int(connections)):
        clients.sockets.append(clients.connect())
    print("open", flush=True)
    ended = selectors.DefaultSelector()
    ended.register(sys.stdin, selectors.EVENT_READ)
    started, spent = time.monotonic(), time.process_time()
    for turn in itertools.count():
        due = started + turn * TURN_S
        if ended.select(max(0, due - time.monotonic())):
            break
        clients.drip(turn % TURNS_A_SECOND)
    elapsed = time.monotonic() - started
    told = {
        "sent": clients.sent,
        "cut": clients.cut,
        "seconds": elapsed,
        "cpu_share": (time.process_time() - spent) / elapsed,
    }
    print(json.dumps(told), flush=True)
    with contextlib.suppress(OSError):  # closing thousands one by one takes a while
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
