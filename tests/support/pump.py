"""Many connections that send without a pause, and the account of what each was told.

    with Pump(engine.address, engine.token(), connections=64) as pump:
        ...faults...
    pump.told                    # {tag: id}: every transaction that was acknowledged
    pump.repeats                 # of those that were sent again, as many were acknowledged

A transaction has one datapoint, whose value begins with its tag; its client's id is the tag, too.
They are sent `batch` at a time (0: single ones to /analytics) from a process of its own. What was
not acknowledged is sent again. `again`: that share of a batch are ones that were acknowledged
before; what is told of those must be the same id. `count`: how many to send in all, None: until
the end of the `with`. `value`: bytes of each value. `day`: [seconds, transactions]: that many over
a day that is so long, few at its ends and most in the middle; else as many as there can be.
"""

import collections
import json
import math
import os
import random
import resource
import selectors
import socket
import subprocess
import sys
import time

from support.paths import ROOT


class Pump:
    def __init__(self, address, token, connections, **settings):
        self.settings = {"address": address, "token": token, "connections": connections} | settings
        self.told = {}

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.pump", json.dumps(self.settings)],
            cwd=ROOT / "tests",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "open\n", "the clients did not connect"
        return self

    def __exit__(self, *fault):
        if self.settings.get("count") is None or fault[0]:
            self.process.stdin.write("end\n")
        self.process.stdin.close()
        told = self.process.stdout.read()
        self.process.wait()
        assert self.process.returncode == 0 or fault[0], f"the clients failed: {told[-2000:]}"
        if self.process.returncode == 0:
            self.__dict__ |= json.loads(told)


class Client:
    def __init__(self, pump):
        self.pump = pump
        self.sending = []  # tags
        self.out = memoryview(b"")
        self.got = b""
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(self.pump.address, 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.pump.selector.register(self.socket, selectors.EVENT_READ, self)

    def drop(self):
        self.pump.selector.unregister(self.socket)
        self.socket.close()

    def begin(self, tags):
        self.sending = tags
        self.out = memoryview(self.pump.request(tags))
        self.pump.busy += 1
        self.push()

    def push(self):
        try:
            while self.out:
                self.out = self.out[self.socket.send(self.out) :]
        except BlockingIOError:
            self.pump.selector.modify(
                self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self
            )
            return
        self.pump.selector.modify(self.socket, selectors.EVENT_READ, self)

    def ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.push()
        if not events & selectors.EVENT_READ:
            return
        try:
            chunk = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self.got += chunk
        if not chunk:
            self.end(None, b"")
            self.drop()
            self.connect()
        elif (at := self.got.find(b"\r\n\r\n")) >= 0:
            head = self.got[:at].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.got) >= at + 4 + length:
                status, body = int(head[9:12]), self.got[at + 4 : at + 4 + length]
                self.got = self.got[at + 4 + length :]
                self.end(status, body)

    def end(self, status, body):
        if self.sending:
            self.pump.busy -= 1
            self.pump.answered(self.sending, status, body)
        self.sending, self.got = [], b"" if status is None else self.got


class Main:
    def __init__(
        self, address, token, connections, batch=0, again=0, count=None, value=24, day=None
    ):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.batch, self.again, self.count, self.day = batch, again, count, day
        path = "/v1/transactions" if batch else "/analytics"
        self.head = (
            f"POST {path} HTTP/1.1\r\nHost: pump\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self.padding = "x" * value
        self.value = value
        self.selector = selectors.DefaultSelector()
        self.random = random.Random(1)
        self.made = self.busy = self.repeats = self.largest = 0
        self.told, self.known = {}, []
        self.left = collections.deque()  # to be sent again
        self.ended = False
        self.clients = [Client(self) for _ in range(connections)]

    def request(self, tags):
        stamp = time.time()
        texts = [
            f'{{"product":"CLUBS","id":"{tag}","pennkey":"p","timestamp":{stamp:.3f},'
            f'"data":[{{"key":"k","value":"{(tag + " " + self.padding)[: self.value]}"}}]}}'
            for tag in tags
        ]
        body = f"[{','.join(texts)}]" if self.batch else texts[0]
        self.largest = max(self.largest, len(body))
        return f"{self.head}{len(body)}\r\n\r\n{body}".encode()

    def due(self):
        """How many should have been sent by now; None: there is no end to it."""
        if self.day is None:
            return self.count
        seconds, transactions = self.day
        part = min(1, (time.monotonic() - self.started) / seconds)
        return int(transactions * (part - math.sin(2 * math.pi * part) / (2 * math.pi)))

    def next(self):
        """The tags of a request; none if there is nothing to send now."""
        tags = []
        due = self.due()
        if not self.left and (self.ended or (due is not None and self.made >= due)):
            return tags
        while len(tags) < max(1, self.batch):
            if self.known and self.again and self.random.random() < self.again:
                tags.append(self.random.choice(self.known))
            elif self.left:
                tags.append(self.left.popleft())
            elif not self.ended and (due is None or self.made < due):
                self.made += 1
                tags.append(f"t{self.made}")
            else:
                break
        return tags

    def answered(self, tags, status, body):
        if status is None or status == 503:
            self.left.extend(tag for tag in tags if tag not in self.told)
            return
        assert status == (202 if self.batch else 200), f"{status}: {body[:500]}"
        answer = json.loads(body)
        results = answer["results"] if self.batch else [answer]
        assert len(results) == len(tags)
        for tag, result in zip(tags, results, strict=True):
            identity = result["id"]
            self.repeats += tag in self.told
            if self.again and tag not in self.told:
                self.known.append(tag)
            before = self.told.setdefault(tag, identity)
            assert before == identity, f"{tag} was told {before} and then {identity}"

    def is_done(self):
        if self.busy or self.left:
            return False
        count = self.day[1] if self.day else self.count
        return self.ended or (count is not None and self.made >= count)

    def run(self):
        self.started = time.monotonic()
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        idle = collections.deque(self.clients)
        while not self.is_done():
            while idle:
                tags = self.next()
                if not tags:
                    break
                idle.popleft().begin(tags)
            for key, events in self.selector.select(0.01):
                if key.data is None:
                    line = os.read(sys.stdin.fileno(), 100)
                    self.ended = self.ended or line != b""
                    if not line:
                        self.selector.unregister(sys.stdin)
                    continue
                was_busy = bool(key.data.sending)
                key.data.ready(events)
                if was_busy and not key.data.sending:
                    idle.append(key.data)


def main(settings):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    pump = Main(**json.loads(settings))
    print("open", flush=True)
    pump.run()
    names = ["told", "repeats", "made", "largest"]
    print(json.dumps({name: getattr(pump, name) for name in names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
