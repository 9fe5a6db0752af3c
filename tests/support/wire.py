"""HTTP by hand, for requests that no library would send."""

import json
import socket


class Closed(Exception):
    """The server closed the connection; `args[0]` is what came before."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def detail(self):
        assert self.headers["content-type"] == "application/json", self.headers
        return json.loads(self.body)["detail"]

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:200]!r}"


class Wire:
    """One connection to a server at "host:port"."""

    def __init__(self, address, timeout=20):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *fault):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def _more(self):
        try:
            chunk = self.socket.recv(65536)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise Closed(self.buffer)
        self.buffer += chunk

    def _until(self, mark):
        while mark not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _bytes(self, count):
        while len(self.buffer) < count:
            self._more()
        body, self.buffer = self.buffer[:count], self.buffer[count:]
        return body

    def answer(self, head_only=False):
        """The next answer; raises Closed if there is none."""
        lines = self._until(b"\r\n\r\n").decode().split("\r\n")
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        if status < 200 or head_only:
            return Answer(status, headers, b"")
        return Answer(status, headers, self._bytes(int(headers["content-length"])))

    def is_closed(self):
        """Waits until the server has closed; False if it says something more."""
        try:
            self._more()
        except Closed:
            return True
        return False


def head(method, path, *fields, token=None, length=None):
    """The head of a request, with its empty line."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"Content-Length: {length}"] if length is not None else []
    return "\r\n".join([*lines, *fields, "", ""])
