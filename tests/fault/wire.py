"""A proxy that reads PostgreSQL's protocol and breaks the line at a chosen message.

Messages pass whole, one at a time (protocol 3, see "Message Formats" in PostgreSQL's manual); the
trap sees each before it passes. With it can be said what a pattern of bytes cannot: the end of
COPY's rows is held back, the answer to COMMIT is lost, the third piece of rows never arrives.
"""

import struct
import threading

from support.proxy import TO_CLIENT, TO_SERVER, Proxy

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104

# What a trap may wait for: direction, type, start of the contents, how many of them before.
QUERY = (TO_SERVER, b"Q", b"BEGIN", 0)
FIRST_ROWS = (TO_SERVER, b"d", b"", 0)
LATER_ROWS = (TO_SERVER, b"d", b"", 2)
COPY_DONE = (TO_SERVER, b"c", b"", 0)
UPDATED = (TO_CLIENT, b"C", b"UPDATE 1\0", 0)
COPY_ASKED = (TO_CLIENT, b"G", b"", 0)
COPIED = (TO_CLIENT, b"C", b"COPY ", 0)
COMMITTED = (TO_CLIENT, b"C", b"COMMIT\0", 0)
GREETING = (TO_CLIENT, b"R", b"", 0)


class Talk:
    """What has been read of one direction of one connection."""

    def __init__(self):
        self.bytes = b""
        self.starting = True  # the client's first messages have no type
        self.single = 0  # one-byte answers that the server owes


class Wire(Proxy):
    def __init__(self, target):
        self._talks = {}
        self._trap = None
        self._stuck = threading.Event()
        super().__init__(target)

    def break_at(self, point, then=None, passing=False, stall=False):
        """At the message that `point` describes, once: `then` is called and the line is cut.
        passing: the message itself gets through. stall: nothing more passes, without a cut.
        Gives an Event that is set afterwards."""
        sprung = threading.Event()
        with self._lock:
            self._trap = [*point, then, passing, stall, sprung]
        return sprung

    def clear(self):
        with self._lock:
            self._trap = None
        self._stuck.set()
        super().clear()

    def close(self):
        self._stuck.set()
        super().close()

    def _carry(self, pump, chunk):
        if self.delay_s:
            self._closed.wait(self.delay_s)
        self._flowing.wait()
        with self._lock:
            talks = self._talks.setdefault(pump.connection, {TO_SERVER: Talk(), TO_CLIENT: Talk()})
        talk = talks[pump.direction]
        talk.bytes += chunk
        while (message := self._next(talks, pump.direction)) is not None:
            if not self._pass(pump, message):
                return False
        return True

    def _next(self, talks, direction):
        talk = talks[direction]
        if direction == TO_CLIENT and talk.single and talk.bytes:
            talk.single -= 1
            message, talk.bytes = talk.bytes[:1], talk.bytes[1:]
            return message
        head = 4 if direction == TO_SERVER and talk.starting else 5
        if len(talk.bytes) < head:
            return None
        length = struct.unpack("!I", talk.bytes[head - 4 : head])[0] + head - 4
        if len(talk.bytes) < length:
            return None
        message, talk.bytes = talk.bytes[:length], talk.bytes[length:]
        if head == 4:
            code = struct.unpack("!I", message[4:8])[0]
            talk.starting = code in (SSL_REQUEST, GSS_REQUEST)
            talks[TO_CLIENT].single += talk.starting
        return message

    def _springs(self, pump, message):
        with self._lock:
            trap = self._trap
            if trap is None or trap[0] != pump.direction or message[:1] != trap[1]:
                return None
            if not message[5:].startswith(trap[2]):
                return None
            if trap[3] > 0:
                trap[3] -= 1
                return None
            self._trap = None
            return trap[4:]

    def _pass(self, pump, message):
        sprung = self._springs(pump, message)
        if sprung is None:
            pump.target.sendall(message)
            return True
        then, passing, stall, event = sprung
        if passing:
            pump.target.sendall(message)
        if then:
            then()
        if stall:
            self._stuck.clear()
            event.set()
            self._stuck.wait()
        self.cut()
        event.set()
        return False
