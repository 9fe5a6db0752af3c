"""A TCP proxy that misbehaves on request: cuts, delays, stalls, and cuts at chosen bytes.

    proxy = Proxy(("127.0.0.1", 5432))
    proxy.cut_on(b"COMMIT\\0", TO_CLIENT)      # the server has committed; its answer is lost

Each connection has one thread a direction. A cut is a reset, as of a dead machine's last word;
as on a real line, bytes that passed just before it may be lost with it.
"""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from support import ports

TO_SERVER, TO_CLIENT = "to server", "to client"
CHUNK = 65536


@dataclass
class Trap:
    """Waits for `pattern` in one direction and then cuts every connection of the proxy."""

    pattern: bytes
    direction: str
    let_by: int | None
    then: Callable[[], None] | None
    sprung: threading.Event = field(default_factory=threading.Event)
    left: int | None = None  # bytes still to let by, once the pattern has been seen


class _Pump(threading.Thread):
    """Carries one direction of one connection."""

    def __init__(self, proxy, connection, direction):
        super().__init__(daemon=True)
        self.proxy, self.connection, self.direction = proxy, connection, direction
        client, server = connection
        self.source, self.target = (client, server) if direction == TO_SERVER else (server, client)
        self.tail = b""  # the end of what went by, where a pattern may have begun

    def run(self):
        try:
            while chunk := self.source.recv(CHUNK):
                if not self.proxy._carry(self, chunk):
                    return
            self.proxy._end_in_order(self)
        except OSError:
            pass  # cut, by us or by one of the ends


class Proxy:
    def __init__(self, target):
        self.target = target
        self.port = ports.take()
        self.delay_s = 0.0
        self.carried = {TO_SERVER: 0, TO_CLIENT: 0}
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._connections = []
        self._traps = []
        self._closed = threading.Event()
        self._listener = None
        self.up()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    # -- faults

    def cut(self):
        """Resets every open connection; new ones are taken."""
        with self._lock:
            victims, self._connections = self._connections, []
        for connection in victims:
            for end in connection:
                _reset(end)

    def down(self):
        """Refuses new connections and resets the open ones."""
        listener, self._listener = self._listener, None
        if listener:
            # shutdown() wakes the thread in accept(); close() alone would not.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def up(self):
        if self._listener:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stall(self):
        """Nothing passes, in either direction, until resume(); connections stay open."""
        self._flowing.clear()

    def resume(self):
        self._flowing.set()

    def delay(self, seconds):
        """Every chunk waits this long before it passes."""
        self.delay_s = seconds

    def cut_after(self, count, direction):
        """Cuts once `count` more bytes have passed; gives an Event that is set then."""
        return self._set(Trap(b"", direction, count, None, left=count))

    def cut_on(self, pattern, direction, let_by=None, then=None):
        """Cuts when `pattern` comes by, once; gives an Event that is set then.

        let_by: None holds back the pattern and what follows it; n lets the pattern and n more
        bytes pass. then: called just before the cut, on the proxy's thread (to kill a server
        at that very moment, say).
        """
        assert pattern
        return self._set(Trap(pattern, direction, let_by, then))

    def clear(self):
        """Takes all traps away and lets everything flow."""
        with self._lock:
            self._traps.clear()
        self.delay(0)
        self.resume()

    def close(self):
        self._closed.set()
        self.resume()
        self.down()

    # -- carrying

    def _set(self, trap):
        with self._lock:
            self._traps.append(trap)
        return trap.sprung

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, timeout=10)
                server.settimeout(None)
            except OSError:
                _reset(client)
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = (client, server)
            with self._lock:
                self._connections.append(connection)
            _Pump(self, connection, TO_SERVER).start()
            _Pump(self, connection, TO_CLIENT).start()

    def _end_in_order(self, pump):
        """One end has said its last: tells the other, unless that is the cut's own doing."""
        with self._lock:
            if pump.connection in self._connections:
                pump.target.shutdown(socket.SHUT_WR)

    def _carry(self, pump, chunk):
        """Passes one chunk on, as far as traps let it; false once the connection is cut."""
        if self.delay_s:
            self._closed.wait(self.delay_s)
        self._flowing.wait()
        with self._lock:
            sprung, passing = self._spring(pump, chunk)
            self.carried[pump.direction] += len(passing)
        if passing:
            pump.target.sendall(passing)
        if sprung is None:
            return True
        if sprung.then:
            sprung.then()
        self.cut()
        sprung.sprung.set()
        return False

    def _spring(self, pump, chunk):
        """The first trap that ends the flow inside this chunk, and the bytes before that."""
        seen = pump.tail + chunk
        for trap in self._traps:
            if trap.direction != pump.direction:
                continue
            end = len(chunk) + 1
            if trap.left is not None:
                end = trap.left
                trap.left -= min(trap.left, len(chunk))
            elif (at := seen.find(trap.pattern)) >= 0:
                # Where the pattern starts and ends within this chunk; it may have begun before.
                start = max(0, at - len(pump.tail))
                stop = at + len(trap.pattern) - len(pump.tail)
                if stop <= 0:
                    continue  # it had passed whole before the trap was set
                end = start if trap.let_by is None else stop + trap.let_by
                trap.left = max(0, end - len(chunk))
            if end <= len(chunk):
                self._traps.remove(trap)
                return trap, chunk[:end]
        longest = max((len(trap.pattern) for trap in self._traps), default=1)
        pump.tail = seen[-(longest - 1) :] if longest > 1 else b""
        return None, chunk


def _reset(end):
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Wakes the thread that reads this end; the close that follows sends the reset.
        end.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    end.close()
