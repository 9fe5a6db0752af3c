"""The connection: what comes back over it, and TLS with the real engine."""

import os
import socket
import ssl
import threading

import pytest
from support import ports
from support.certificates import Authority
from support.wait import wait_until

from labs_analytics.transport import Address, Connection


def test_an_answer_that_comes_before_the_body_was_read_is_understood():
    listening = socket.create_server(("127.0.0.1", 0))

    def refuse():
        connected, _ = listening.accept()
        connected.recv(1000)
        answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        connected.sendall(answer)
        connected.close()  # much of the body is unread: sending more of it fails

    thread = threading.Thread(target=refuse)
    thread.start()
    address = Address.of(f"http://127.0.0.1:{listening.getsockname()[1]}")
    answer = Connection(address, 30).post("/", os.urandom(8 << 20), {})
    thread.join()
    listening.close()
    assert answer.status == 413


def test_who_looks_at_all_connections_of_the_program_harms_none(scripted, monkeypatch, capsys):
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)
    server = scripted()
    assert (
        Connection(Address.of(server.url), 30).post("/v1/transactions", b"[{}]", {}).status == 202
    )
    assert "reply:" in capsys.readouterr().out


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
@pytest.mark.parametrize("together", [False, True])
def test_what_comes_before_the_answer_is_not_the_answer(interim, together):
    listening = socket.create_server(("127.0.0.1", 0))
    first = b"HTTP/1.1 " + interim + b"\r\nLink: </a>\r\n\r\n"

    def answer():
        connected, _ = listening.accept()
        for number in (b"1", b"2"):
            request = b""
            while not request.endswith(b"\r\n\r\nx"):
                request += connected.recv(1000)
            final = b"HTTP/1.1 202 Accepted\r\nContent-Length: 1\r\n\r\n" + number
            for part in [first * 2 + final] if together else [first, first, final]:
                connected.sendall(part)
        connected.close()

    thread = threading.Thread(target=answer)
    thread.start()
    connection = Connection(Address.of(f"http://127.0.0.1:{listening.getsockname()[1]}"), 30)
    answers = [connection.post("/", b"x", {}) for _ in range(2)]
    connection.close()
    thread.join()
    listening.close()
    assert [(one.status, one.body) for one in answers] == [(202, b"1"), (202, b"2")]


HEAD = b"HTTP/1.1 202 Accepted\r\n"


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (HEAD + b"X-Slow: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (HEAD + b"Connection: close\r\n\r\n", b"a"),
    ],
    ids=["a header", "more heads", "other heads", "chunks", "a body without length"],
)
def test_a_peer_that_drips_is_given_up_after_the_time_limit(begin, drop):
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip():
        connected, _ = listening.accept()
        connected.recv(1000)
        try:
            connected.sendall(begin)
            while not over.wait(0.02):
                connected.sendall(drop)
        except OSError:
            pass  # it has gone
        connected.close()

    thread = threading.Thread(target=drip)
    thread.start()
    address = Address.of(f"http://127.0.0.1:{listening.getsockname()[1]}")
    stop = threading.Timer(20, over.set)  # or a client that waits would wait for ever
    stop.start()
    try:
        with pytest.raises(TimeoutError):
            Connection(address, 0.2).post("/", b"x", {})
        assert not over.is_set()
    finally:
        stop.cancel()
        over.set()
        thread.join()
        listening.close()


class Files:
    def __init__(self, folder):
        self.authority = Authority(folder / "authority.pem")
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.authority.issue(self.cert, self.key)

    @property
    def options(self):
        files = {"TLS_CERT": self.cert, "TLS_KEY": self.key}
        return files | {"ca_file": self.authority.ca_file}

    def context(self):
        return ssl.create_default_context(cafile=self.authority.ca_file)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def test_over_tls_a_connection_is_kept_and_replaced_as_any_other(engines, clients, files):
    engine = engines(listen=f"https://127.0.0.1:{ports.take()}", **files.options)
    client = clients(engine.url, token=engine.token(), ssl_context=files.context())
    for _ in range(3):
        assert client.record("visit")
        assert client.flush(30)
        engine.stop()  # the engine ends it as TLS demands
        engine.start()
        assert client.record("visit")
        assert client.flush(30)
        engine.kill9()  # and here its system does
        engine.start()
    assert (client.stats().accepted, client.stats().failures) == (6, 0)


def test_a_certificate_of_an_unknown_authority_is_not_trusted(engines, clients, files):
    engine = engines(listen="https://127.0.0.1:0", **files.options)
    client = clients(engine.url, token=engine.token())
    client.record("visit")
    wait_until(lambda: client.stats().failures >= 2)
    assert "certificate" in client.stats().last_error
    assert client.stats().queued == 1
    assert engine.counts()["accepted"] == 0


def test_an_engine_that_was_given_a_certificate_meanwhile_costs_nothing(
    engines, clients, files, tmp_path
):
    port = ports.take()
    secure = engines(listen=f"https://127.0.0.1:{port}", **files.options)
    client = clients(
        f"http://127.0.0.1:{port}",
        token=secure.token(),
        spool_dir=tmp_path / "spool",
        batch_count=10,
    )
    for number in range(50):
        assert client.record("n", number)
    wait_until(lambda: client.stats().failures >= 3)
    assert "speaks TLS" in client.stats().last_error
    assert client.stats().refused == 0
    secure.stop()
    plain = engines(start=False, listen=f"127.0.0.1:{port}")
    plain.data_dir = secure.data_dir
    plain.start()
    wait_until(lambda: client.stats().accepted == 50)
    plain.wait_until_stored()
    assert len(plain.query("SELECT value FROM event")) == 50
