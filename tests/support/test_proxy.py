"""The proxy does to a connection what it promises; an echo server stands for the real one."""

import socket
import threading

import pytest
from support.proxy import TO_CLIENT, TO_SERVER, Proxy
from support.wait import wait_until


class Echo:
    """Answers each connection with what it sends, and remembers it."""

    def __init__(self):
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def _accept(self):
        while True:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(end,), daemon=True).start()

    def _echo(self, end):
        try:
            while chunk := end.recv(65536):
                self.heard += chunk
                end.sendall(chunk)
        except OSError:
            pass
        end.close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.end()


@pytest.fixture
def through(echo, proxies):
    proxy = proxies(echo.port)
    return proxy


def connect(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def read(end, count):
    got = b""
    while len(got) < count and (chunk := end.recv(count - len(got))):
        got += chunk
    return got


def read_until_cut(end):
    """What still came; a reset may swallow bytes that were sent before it."""
    got = b""
    try:
        while chunk := end.recv(65536):
            got += chunk
    except ConnectionResetError:
        return got
    raise AssertionError(f"the connection ended in order, after {got!r}")


def test_bytes_pass_in_both_directions(through):
    with connect(through) as end:
        end.sendall(b"x" * 200000)
        assert read(end, 200000) == b"x" * 200000
        end.shutdown(socket.SHUT_WR)
        assert end.recv(1) == b""
    assert through.carried == {TO_SERVER: 200000, TO_CLIENT: 200000}


def test_a_cut_resets_what_is_open_and_takes_new_connections(through):
    with connect(through) as end, connect(through) as other:
        for one in (end, other):
            one.sendall(b"a")
            assert read(one, 1) == b"a"
        through.cut()
        assert read_until_cut(end) == b""
        assert read_until_cut(other) == b""
    with connect(through) as end:
        end.sendall(b"b")
        assert read(end, 1) == b"b"


def test_a_proxy_that_is_down_refuses_until_it_is_up(through):
    with connect(through) as end:
        end.sendall(b"a")
        assert read(end, 1) == b"a"
        through.down()
        assert read_until_cut(end) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(through)
    through.up()
    with connect(through) as end:
        end.sendall(b"b")
        assert read(end, 1) == b"b"


def test_a_dead_server_is_a_reset(echo, proxies):
    proxy = proxies(echo.port)
    echo.end()
    with pytest.raises(ConnectionResetError), connect(proxy) as end:
        end.recv(1)


def test_nothing_passes_a_stalled_proxy(through, echo):
    through.stall()
    with connect(through) as end:
        end.sendall(b"a")
        end.settimeout(0.1)
        with pytest.raises(TimeoutError):
            end.recv(1)
        assert echo.heard == b""
        through.resume()
        end.settimeout(10)
        assert read(end, 1) == b"a"


def test_a_pattern_in_an_answer_is_held_back(through, echo):
    sprung = through.cut_on(b"COMMIT", TO_CLIENT)
    with connect(through) as end:
        end.sendall(b"before COMMIT after")
        assert b"before ".startswith(read_until_cut(end))
    assert sprung.wait(10)
    assert through.carried[TO_CLIENT] == len(b"before ")
    assert echo.heard == b"before COMMIT after"


def test_a_pattern_to_the_server_is_held_back(through, echo):
    called = threading.Event()
    sprung = through.cut_on(b"COMMIT", TO_SERVER, then=called.set)
    with connect(through) as end:
        end.sendall(b"before COMMIT after")
        read_until_cut(end)
    assert sprung.wait(10)
    assert called.is_set()
    assert through.carried[TO_SERVER] == len(b"before ")
    assert b"before ".startswith(echo.heard)


def test_some_bytes_may_pass_behind_a_pattern(through, echo):
    sprung = through.cut_on(b"COPY", TO_SERVER, let_by=3)
    with connect(through) as end:
        end.sendall(b"one COPYab")
        wait_until(lambda: echo.heard == b"one COPYab")
        assert not sprung.is_set()
        end.sendall(b"cdefgh")
        read_until_cut(end)
    assert sprung.wait(10)
    assert through.carried[TO_SERVER] == len(b"one COPYabc")
    assert b"one COPYabc".startswith(echo.heard)


def test_a_pattern_in_pieces_is_seen(through, echo):
    sprung = through.cut_on(b"COMMIT", TO_SERVER)
    with connect(through) as end:
        end.sendall(b"x COM")
        wait_until(lambda: echo.heard == b"x COM")
        end.sendall(b"MIT y")
        read_until_cut(end)
    assert sprung.wait(10)
    assert echo.heard == b"x COM"


def test_a_trap_springs_once(through):
    through.cut_on(b"COMMIT", TO_SERVER)
    with connect(through) as end:
        end.sendall(b"COMMIT")
        read_until_cut(end)
    with connect(through) as end:
        end.sendall(b"COMMIT")
        assert read(end, 6) == b"COMMIT"


def test_a_connection_is_cut_after_so_many_bytes(through, echo):
    sprung = through.cut_after(100000, TO_SERVER)
    with connect(through) as end:
        try:
            end.sendall(b"x" * 150000)
        except OSError:
            pass  # cut while sending
        else:
            read_until_cut(end)
    assert sprung.wait(10)
    assert len(echo.heard) <= 100000
    assert through.carried[TO_SERVER] == 100000


def test_a_closed_proxy_refuses(echo):
    proxy = Proxy(("127.0.0.1", echo.port))
    proxy.close()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
