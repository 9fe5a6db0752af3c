"""One kept-alive connection to the engine: a request goes out, an answer comes back, in time.

http.client is used as it is: it follows no redirection, so the token goes nowhere else, and looks
at no proxy of the environment. Certificates are verified by ssl's default context. A connection
that the server has closed meanwhile is replaced at once; every other fault is the caller's to
repeat. Only one thread uses a connection.
"""

from __future__ import annotations

# Looking up a name would import it on the background thread; a child that is forked just then waits
# for ever for the end of that import.
import encodings.idna  # noqa: F401
import gzip
import http.client
import io
import os
import socket
import ssl
import sys
from functools import partial
from time import monotonic
from typing import Any, Dict, List, NamedTuple, Optional
from urllib.parse import urlsplit

# Answers to 10,000 transactions have about 350 KB; more than this is not the engine.
LONGEST_ANSWER = 8 * 1024 * 1024
# Below this compressing saves no packet.
LEAST_TO_COMPRESS = 1024

_CLOSED = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)
_CLOSED_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_CLOSED_BY_SERVER = (http.client.RemoteDisconnected, *_CLOSED, *_CLOSED_TLS)


class Answer(NamedTuple):
    status: int
    reason: str
    retry_after: Optional[str]
    date: Optional[str]
    body: bytes


class Address(NamedTuple):
    """Where requests go, read from a URL."""

    secure: bool
    host: str
    port: int
    path: str  # of the base; no slash at its end

    @classmethod
    def of(cls, url: str) -> Address:
        parts = urlsplit(url if isinstance(url, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address like https://analytics.pennlabs.org")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the address must have no user, query or fragment")
        if not _can_be_asked(parts.hostname, parts.path):
            raise ValueError(f"{url!r} has a host or a path that no request can name")
        secure = parts.scheme == "https"
        port = parts.port if parts.port is not None else (443 if secure else 80)
        return cls(secure, parts.hostname, port, parts.path.rstrip("/"))


def _can_be_asked(host: str, path: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:  # a part of it is empty, or too long
        return False
    return path.isascii() and (host + path).isprintable() and " " not in host + path


class Connection:
    """`timeout`: seconds for connecting, and for all of a request and its answer together; name
    resolution is the system's."""

    def __init__(
        self, address: Address, timeout: float, context: Optional[ssl.SSLContext] = None
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._context = context
        self._connection: Optional[http.client.HTTPConnection] = None

    def prepare(self) -> None:
        """Before the first request, which may be made at the end of the process: gevent looks names
        up on a thread of its own, and can start none then (Python 3.9 and 3.12)."""
        if "gevent" in sys.modules:
            try:
                socket.getaddrinfo(self._address.host, self._address.port)
            except Exception:
                pass  # the first request tells

    def post(self, path: str, body: bytes, headers: Dict[str, str]) -> Answer:
        """Raises OSError or HTTPException when there is no answer; ValueError: what shall be sent
        is no header."""
        headers = {"User-Agent": "labs-analytics-python", **headers}
        if len(body) >= LEAST_TO_COMPRESS:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        used_before = self._connection is not None
        try:
            return self._exchange(path, body, headers)
        except _CLOSED_BY_SERVER:
            if not used_before:
                raise
        return self._exchange(path, body, headers)

    def _exchange(self, path: str, body: bytes, headers: Dict[str, str]) -> Answer:
        try:
            connection = self._open()
            deadline = monotonic() + self._timeout
            try:
                connection.request("POST", self._address.path + path, body, headers)
            except _CLOSED:
                pass  # a server that hangs up on a body may have said why: read that
            connection.response_class = partial(_Response, deadline)  # type: ignore[assignment]
            response = connection.getresponse()
            content = self._read(response)
            response.close()  # not the connection; read1 itself does not always tell it of the end
            if response.will_close:
                self.close()
            retry, date = response.getheader("Retry-After"), response.getheader("Date")
            return Answer(response.status, response.reason, retry, date, content)
        except BaseException:
            self.close()
            raise

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            address = self._address
            if address.secure:
                # Made late: reading the system's certificates takes tens of milliseconds.
                context = self._context or ssl.create_default_context()
                self._context = context
                self._connection = http.client.HTTPSConnection(
                    address.host, address.port, timeout=self._timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(
                    address.host, address.port, timeout=self._timeout
                )
            self._connection.connect()
        else:
            self._connection.sock.settimeout(self._timeout)
        return self._connection

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        parts: List[bytes] = []
        total = 0
        while True:
            part = response.read1(65536)
            if not part:
                return b"".join(parts)
            parts.append(part)
            total += len(part)
            if total > LONGEST_ANSWER:
                raise http.client.HTTPException("the answer is too long to be the engine's")

    def abandon(self) -> None:
        """What a forked child does with the connection of its parent, to whom it makes no
        difference: nothing is said on the wire while another process has it open. Only the file is
        closed: in the objects around it are locks that the parent's thread may just have held."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.sock is not None:
            descriptor = connection.sock.detach()
            if descriptor >= 0:
                os.close(descriptor)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Response(http.client.HTTPResponse):
    """Its head and its body come by the deadline: the time limit of a socket is for each reading,
    of which a peer that drips causes any number."""

    def __init__(
        self, deadline: float, connected: socket.socket, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(connected, *arguments, **options)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), connected, deadline))

    def begin(self) -> None:
        """Of the final answer. Heads with a status of 1xx come before it; http.client passes over
        100 only, and the next request would get what answers this one."""
        super().begin()
        while self.status < 200:
            self.headers = None  # type: ignore[assignment]
            super().begin()


class _Timed(io.RawIOBase):
    def __init__(self, raw: Any, connected: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._connected = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        _limit(self._connected, self._deadline)
        count: Optional[int] = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _limit(connected: socket.socket, deadline: float) -> None:
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise TimeoutError("the answer did not come in time")
    connected.settimeout(remaining)
