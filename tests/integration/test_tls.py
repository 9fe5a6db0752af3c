"""TLS from outside: what is spoken and what is not, certificates exchanged under load, and a
plain port beside it. The clients are OpenSSL's own command and Python's `ssl`."""

import contextlib
import gzip
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import threading

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support.certificates import Authority
from support.engine import Engine, a_transaction
from support.wire import Wire, head

BOTH = "https://127.0.0.1:0,http://127.0.0.1:0"
SUITES = {
    "ECDHE-{}-AES128-GCM-SHA256",
    "ECDHE-{}-AES256-GCM-SHA384",
    "ECDHE-{}-CHACHA20-POLY1305",
}
EXPIRY = "labs_analytics_tls_certificate_expiry_timestamp_seconds"
HANDSHAKES = "labs_analytics_tls_handshakes_total"
FAILURES = "labs_analytics_tls_handshake_failures_total"


class Files:
    """An authority and the files that the engine reads; `renew` puts others in their place."""

    def __init__(self, folder, key=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder / "authority.pem")
        self.ca_file = self.authority.ca_file
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.serial = self.renew(key=key)

    def renew(self, **arguments):
        self.serial = self.authority.issue(self.cert, self.key, **arguments)
        return self.serial

    @property
    def options(self):
        return {"TLS_CERT": self.cert, "TLS_KEY": self.key, "ca_file": self.ca_file}

    def context(self):
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "tls")


@pytest.fixture(scope="module", params=["ECDSA", "RSA"])
def spoken(request, tmp_path_factory):
    """An engine for many tests, which see its certificate's kind in engine.kind."""
    folder = tmp_path_factory.mktemp(f"tls-{request.param}")
    key = rsa.generate_private_key(65537, 2048) if request.param == "RSA" else None
    files = Files(folder / "tls", key or ec.generate_private_key(ec.SECP256R1()))
    engine = Engine(folder / "engine", listen=BOTH, **files.options)
    engine.kind, engine.files = request.param, files
    engine.start()
    yield engine
    engine.finish()


def s_client(engine, *flags, typed=b""):
    """All that OpenSSL's client said. It offers whatever it can unless the flags say otherwise."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", engine.tls_address, *flags],
        input=typed,
        capture_output=True,
        timeout=30,
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def connect(engine, files, protocols=None):
    context = files.context()
    if protocols:
        context.set_alpn_protocols(protocols)
    host, port = engine.tls_address.rsplit(":", 1)
    return context.wrap_socket(
        socket.create_connection((host, int(port)), 20), server_hostname="localhost"
    )


def serial_of(connection):
    return int(connection.getpeercert()["serialNumber"], 16)


def livez(connection):
    connection.sendall(head("GET", "/livez").encode())
    return connection.recv(4096)


# -- what is spoken


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_versions_before_1_2_are_refused(spoken, version):
    said = s_client(spoken, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in said
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize(("flag", "name"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions_1_2_and_1_3_are_spoken(spoken, flag, name):
    asked = head("GET", "/livez", "Connection: close").encode()
    said = s_client(spoken, flag, "-CAfile", spoken.files.ca_file, "-ign_eof", "-comp", typed=asked)
    assert f"New, {name}" in said
    assert "Verify return code: 0 (ok)" in said
    assert "Compression: NONE" in said
    assert "HTTP/1.1 200 OK" in said
    assert "unexpected eof" not in said


def suites(of):
    listed = subprocess.run(
        ["openssl", "ciphers", "-s", of, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        check=True,
        text=True,
    )
    return listed.stdout.strip().split(":")


def test_only_ephemeral_authenticated_ciphers_are_taken(spoken):
    offered = suites("-tls1_2")
    assert {"AES128-SHA", "ECDHE-RSA-AES128-SHA", "AES256-GCM-SHA384"} <= set(offered)
    taken = set()
    for suite in offered:
        said = s_client(spoken, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
        if "Cipher is (NONE)" not in said:
            taken.add(suite)
    assert taken == {suite.format(spoken.kind) for suite in SUITES}


@pytest.mark.parametrize("suite", ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"])
def test_the_lesser_suites_of_1_3_are_refused(spoken, suite):
    said = s_client(spoken, "-tls1_3", "-ciphersuites", suite)
    assert "alert handshake failure" in said


def test_the_server_chooses_the_cipher(spoken):
    order = [f"ECDHE-{spoken.kind}-{tail}" for tail in ("CHACHA20-POLY1305", "AES128-GCM-SHA256")]
    said = s_client(spoken, "-tls1_2", "-cipher", ":".join(order))
    assert f"Cipher is {order[1]}" in said


@pytest.mark.parametrize("flags", [[], ["-legacy_renegotiation"]])
def test_a_client_cannot_renegotiate(spoken, flags):
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", spoken.tls_address, "-tls1_2", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with client:
        client.stdin.write(b"R\n")
        client.stdin.flush()
        said = client.stdout.read().decode()  # to its end: the engine closes the connection
    assert "RENEGOTIATING" in said
    assert spoken.get("/livez").status_code == 200


def test_http_1_1_is_agreed_on_and_h2_alone_is_not(spoken):
    with connect(spoken, spoken.files, ["h2", "http/1.1"]) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert b"200 OK" in livez(connection)
    with connect(spoken, spoken.files) as connection:
        assert connection.selected_alpn_protocol() is None
        assert b"200 OK" in livez(connection)
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(spoken, spoken.files, ["h2"])


def test_other_protocols_than_the_ports_are_told_so(spoken):
    with Wire(spoken.tls_address) as wire:
        wire.send(head("GET", "/livez"))
        answer = wire.answer()
        assert answer.status == 400
        assert "this port speaks TLS" in answer.detail
    out = ssl.MemoryBIO()
    hello = spoken.files.context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    with Wire(spoken.address) as wire:
        wire.send(out.read())
        assert wire.answer().status == 400


def test_the_plain_and_the_tls_port_both_write(spoken):
    lock = (spoken.data_dir / "lock").read_text().strip()
    assert lock == f"https://{spoken.tls_address},{spoken.address}"
    before = spoken.counts()["accepted"]
    plain = spoken.post(a_transaction(3))
    secure = requests.post(
        f"{spoken.tls_url}/analytics",
        json=a_transaction(4),
        headers={"Authorization": f"Bearer {spoken.token()}"},
        verify=spoken.files.ca_file,
        timeout=30,
    )
    assert (plain.status_code, secure.status_code) == (200, 200)
    assert len(spoken.events_of(plain.json()["id"])) == 3
    assert len(spoken.events_of(secure.json()["id"])) == 4
    assert spoken.counts()["accepted"] == before + 2


def test_a_large_compressed_batch_arrives_over_tls(spoken):
    before = spoken.counts()["accepted"]
    noise = random.Random(1)
    lines = (
        json.dumps(a_transaction(data=[{"key": "noise", "value": noise.randbytes(512).hex()}]))
        for _ in range(5000)
    )
    body = gzip.compress("\n".join(lines).encode(), 1)
    assert len(body) > 2_000_000
    answer = requests.post(
        f"{spoken.tls_url}/v1/transactions",
        data=body,
        headers={
            "Authorization": f"Bearer {spoken.token()}",
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
        },
        verify=spoken.files.ca_file,
        timeout=60,
    )
    assert answer.status_code == 202, answer.text[:500]
    assert answer.json()["accepted"] == 5000
    assert spoken.counts()["accepted"] == before + 5000


# -- clients that behave badly


def test_clients_that_leave_at_any_moment_end_nothing(spoken):
    pid = spoken.process.pid
    asked = head("GET", "/metrics").encode()
    for turn in range(60):
        if turn % 3 == 0:  # in the middle of the handshake
            with Wire(spoken.tls_address) as wire:
                wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            continue
        connection = connect(spoken, spoken.files)
        connection.sendall(asked * 20)
        if turn % 3 == 1:  # in the middle of answers, by a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    spoken.wait_until(lambda: spoken.metrics()["labs_analytics_http_connections"] <= 2)
    assert spoken.process.pid == pid
    assert spoken.running
    assert spoken.accept()


def test_half_handshakes_hold_no_worker_and_are_cut(engines, files):
    engine = engines(listen=BOTH, WORKERS=1, HEADER_TIMEOUT="1s", **files.options)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(engine.tls_address)) for _ in range(200)]
        for wire in wires[:150]:
            wire.send(b"\x16\x03\x01")
        with connect(engine, files) as connection:
            assert b"200 OK" in livez(connection)
        assert engine.accept()
        engine.wait_until(lambda: engine.metrics()["labs_analytics_http_timeouts_total"] >= 200)
    assert engine.metrics()[FAILURES] == 150


# -- the certificate


def test_the_metrics_tell_of_the_certificate_and_of_handshakes(engines, files):
    engine = engines(listen=BOTH, **files.options)
    expiry = ssl.cert_time_to_seconds(connect(engine, files).getpeercert()["notAfter"])
    assert engine.metrics()[EXPIRY] == expiry
    assert engine.metrics()[HANDSHAKES] == 1
    with contextlib.suppress(ssl.SSLError):
        connect(engine, files, ["h2"])
    assert (engine.metrics()[HANDSHAKES], engine.metrics()[FAILURES]) == (1, 1)
    files.renew(days=200)
    engine.signal(signal.SIGHUP)
    engine.wait_until(lambda: engine.metrics()[EXPIRY] > expiry + 100 * 86400)


class Client(threading.Thread):
    """Writes over one connection all the while, and over a new one each time."""

    def __init__(self, engine, files):
        super().__init__(daemon=True)
        self.engine, self.files, self.token = engine, files, engine.token()
        self.enough = threading.Event()
        self.ids, self.fault, self.turns = [], None, 0

    def _connection(self):
        host, port = self.engine.tls_address.rsplit(":", 1)
        return http.client.HTTPSConnection(
            host, int(port), timeout=30, context=self.files.context()
        )

    def _write(self, connection):
        connection.request(
            "POST",
            "/analytics",
            json.dumps(a_transaction()),
            {"Authorization": f"Bearer {self.token}"},
        )
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 200, body
        self.ids.append(body["id"])

    def run(self):
        try:
            kept = self._connection()
            kept.connect()
            kept.auto_open = 0  # were it closed, the next request would fail
            first = serial_of(kept.sock)
            while not self.enough.is_set():
                self._write(kept)
                new = self._connection()
                self._write(new)
                new.close()
                self.turns += 1
            assert serial_of(kept.sock) == first
            kept.close()
        except Exception as fault:  # noqa: BLE001 (whatever it is, the test is told)
            self.fault = fault


def test_a_reload_under_load_loses_no_request(engines, files):
    engine = engines(listen="https://127.0.0.1:0", WORKERS=2, **files.options)
    clients = [Client(engine, files) for _ in range(4)]
    for client in clients:
        client.start()

    def have_written(turns):
        assert [client.fault for client in clients] == [None] * 4
        return all(client.turns >= turns for client in clients)

    def is_seen(serial):
        with connect(engine, files) as connection:
            return serial_of(connection) == serial

    engine.wait_until(lambda: have_written(2))
    for _ in range(5):
        serial = files.renew()
        done = max(client.turns for client in clients)
        engine.signal(signal.SIGHUP)
        engine.wait_until(lambda serial=serial: is_seen(serial))
        engine.wait_until(lambda done=done: have_written(done + 3))
    for client in clients:
        client.enough.set()
    for client in clients:
        client.join(60)
        assert client.fault is None
    ids = [identity for client in clients for identity in client.ids]
    engine.wait_until_stored()
    assert engine.stored_ids() == dict.fromkeys(ids, 2)
    assert engine.metrics()[FAILURES] == 0
    assert len(engine.log.split("TLS certificate of /CN=localhost, good until")) == 7


def test_a_bad_new_certificate_keeps_the_old_one(engines, files):
    engine = engines(listen=BOTH, **files.options)
    old = files.serial
    files.cert.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    engine.signal(signal.SIGHUP)
    engine.wait_for_log(r"error +app: SIGHUP: TLS certificate \S+: .*; the old certificate stays")
    with connect(engine, files) as connection:
        assert serial_of(connection) == old
        assert b"200 OK" in livez(connection)
    new = files.renew()
    engine.signal(signal.SIGHUP)
    engine.wait_for_log(r"(?s)stays in use.*TLS certificate of /CN=localhost, good until")
    with connect(engine, files) as connection:
        assert serial_of(connection) == new


def test_what_is_wrong_with_the_files_stops_the_start_with_one_line(engines, files, tmp_path):
    engine = engines(start=False)
    other = Files(tmp_path / "other")
    weak = tmp_path / "weak"
    weak_key = rsa.generate_private_key(65537, 1024)
    bad = [
        ({"TLS_CERT": files.cert}, "TLS_KEY is not set"),
        ({"TLS_KEY": files.key}, "TLS_CERT is not set"),
        ({"TLS_CERT": files.cert, "TLS_KEY": other.key}, "key values mismatch"),
        ({"TLS_CERT": files.key, "TLS_KEY": files.key}, f"TLS certificate {files.key}"),
        ({"TLS_CERT": "/nowhere", "TLS_KEY": files.key}, "No such file"),
        ({"TLS_CERT": files.cert, "TLS_KEY": tmp_path}, "not a regular file"),
        ({"LISTEN": "https://127.0.0.1:0"}, "https:// needs TLS_CERT and TLS_KEY"),
        (Files(weak, weak_key).options, "too small"),
    ]
    for options, words in bad:
        options.pop("ca_file", None)
        done = engine.command("serve", check=False, **({"LISTEN": "127.0.0.1:0"} | options))
        assert done.returncode in (1, 2)
        assert words in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert not engine.data_dir.exists()


def test_a_certificate_near_its_end_and_an_open_key_are_warned_of(engines, files):
    files.renew(days=10)
    os.chmod(files.key, 0o644)
    engine = engines(listen=BOTH, **files.options)
    assert "warning http: the TLS certificate expires in less than 14 days" in engine.log
    assert f"warning http: TLS key {files.key}: others than its owner have rights" in engine.log
    files.renew(days=-1)
    engine.signal(signal.SIGHUP)
    engine.wait_for_log("warning http: the TLS certificate has expired")
    files.renew(days=90)
    engine.signal(signal.SIGHUP)
    engine.wait_for_log("(?s)has expired.*TLS certificate of")
    assert engine.log.count("warning http") == 3


# -- the commands


def test_commands_ask_over_tls_and_trust_the_engines_certificate_alone(engines, files, tmp_path):
    engine = engines(listen="https://127.0.0.1:0", **files.options)
    engine.accept()
    assert json.loads(engine.command("status", "--json").stdout)["running"]
    other = Files(tmp_path / "other")
    refused = engine.command("status", check=False, TLS_CERT=other.cert, TLS_KEY=other.key)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "SSL" in refused.stderr


def test_commands_prefer_a_plain_address(engines, files):
    engine = engines(listen=BOTH, **files.options)
    engine.command("status", TLS_CERT="", TLS_KEY="")
    assert engine.metrics()[HANDSHAKES] == 0
