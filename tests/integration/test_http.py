"""The protocol itself: framing, keep-alive, pipelining, slow and malformed requests."""

import json
import random

import pytest
from support.engine import a_transaction
from support.wire import Closed, Wire, head

BODY = json.dumps(a_transaction())


@pytest.fixture
def wire(shared):
    with Wire(shared.address) as connection:
        yield connection


def post(shared, *fields, path="/analytics", body=BODY):
    return head("POST", path, *fields, token=shared.token(), length=len(body)) + body


# -- answers every server gives


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/analytic",
        "/analytics/x",
        "/analytics//",
        "//analytics",
        "/ANALYTICS",
        "/v1",
        "/v1/",
        "/v1/transactions/",
        "/v1/transactions/a/b",
        "/v1/transactions/a/retry/",
        "/v1/status/",
        "/livez/",
        "/favicon.ico",
    ],
)
def test_a_path_that_is_not_there_is_404(shared, wire, path):
    wire.send(head("GET", path, token=shared.token()))
    answer = wire.answer()
    assert answer.status == 404
    assert answer.detail


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/analytics", {"POST", "OPTIONS"}),
        ("PUT", "/analytics/", {"POST", "OPTIONS"}),
        ("DELETE", "/v1/transactions", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", "/v1/transactions/x", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("GET", "/v1/transactions/x/retry", {"POST"}),
        ("POST", "/v1/deliveries", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", "/v1/status", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/livez", {"GET", "HEAD"}),
        ("OPTIONS", "/metrics", {"GET", "HEAD"}),
        ("get", "/readyz", {"GET", "HEAD"}),
        ("BREW", "/readyz", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_405_and_the_right_ones_are_named(shared, wire, method, path, allowed):
    wire.send(head(method, path, token=shared.token()))
    answer = wire.answer()
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert answer.detail


@pytest.mark.parametrize(
    "path", ["/livez?", "/livez?x=1", "/%6civez", "/./livez", "/a/../livez", "http://test/livez"]
)
def test_a_path_has_several_spellings(wire, path):
    wire.send(head("GET", path))
    assert wire.answer().status == 200


def test_head_is_get_without_its_body(shared, wire):
    for path in ("/livez", "/v1/status", "/v1/transactions", "/nowhere"):
        wire.send(head("GET", path, token=shared.token()))
        whole = wire.answer()
        wire.send(head("HEAD", path, token=shared.token()))
        bare = wire.answer(head_only=True)
        assert (bare.status, bare.headers["content-type"]) == (
            whole.status,
            whole.headers["content-type"],
        )
        if path != "/v1/status":  # its uptime grows
            assert bare.headers["content-length"] == whole.headers["content-length"]
    wire.send(head("GET", "/livez"))
    assert wire.answer().status == 200


# -- framing


def test_a_body_may_come_in_chunks(shared, wire):
    half = len(BODY) // 2
    for parts in ([BODY], [BODY[:half], BODY[half:]], list(BODY)):
        chunks = "".join(f"{len(part):x}\r\n{part}\r\n" for part in parts)
        fields = ["Transfer-Encoding: chunked"]
        wire.send(head("POST", "/analytics", *fields, token=shared.token()))
        wire.send(chunks + "0\r\n\r\n")
        assert wire.answer().status == 200


def test_chunks_may_have_extensions_and_trailers(shared, wire):
    wire.send(head("POST", "/analytics", "Transfer-Encoding: chunked", token=shared.token()))
    wire.send(f"{len(BODY):X};name=value\r\n{BODY}\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert wire.answer().status == 200
    wire.send(head("GET", "/livez"))
    assert wire.answer().status == 200


@pytest.mark.parametrize("chunk", ["x\r\n", "-1\r\n{}\r\n", "fffffffffffffffff\r\n", "\r\n"])
def test_a_chunk_without_a_size_is_400(shared, wire, chunk):
    wire.send(head("POST", "/analytics", "Transfer-Encoding: chunked", token=shared.token()))
    wire.send(chunk)
    assert wire.answer().status == 400
    assert wire.is_closed()


def test_a_client_that_waits_for_100_is_told_to_continue(shared, wire):
    fields = head(
        "POST", "/analytics", "Expect: 100-continue", token=shared.token(), length=len(BODY)
    )
    wire.send(fields)
    assert wire.answer().status == 100
    wire.send(BODY)
    assert wire.answer().status == 200


def test_a_client_that_waits_with_too_much_is_told_at_once(shared, wire):
    wire.send(
        head("POST", "/analytics", "Expect: 100-continue", token=shared.token(), length=1 << 30)
    )
    assert wire.answer().status == 413


def test_another_expectation_is_417(shared, wire):
    wire.send(post(shared, "Expect: a-miracle"))
    answer = wire.answer()
    assert (answer.status, bool(answer.detail)) == (417, True)


def test_a_connection_carries_many_requests(shared, wire):
    ids = set()
    for _ in range(50):
        wire.send(post(shared))
        ids.add(json.loads(wire.answer().body)["id"])
    assert len(ids) == 50


def test_refusals_keep_the_connection(shared, wire):
    wire.send(head("POST", "/analytics", length=2) + "{}")
    assert wire.answer().status == 401
    wire.send(post(shared, body="{}"))
    assert wire.answer().status == 400
    wire.send(head("GET", "/nowhere"))
    assert wire.answer().status == 404
    wire.send(post(shared))
    assert wire.answer().status == 200


def test_pipelined_requests_are_answered_in_their_order(shared, wire):
    requests = []
    for n in range(40):
        requests.append(post(shared))
        requests.append(head("GET", "/livez"))
        requests.append(head("GET", "/v1/status", token=shared.token()))
        requests.append(post(shared, body=json.dumps({"product": n})))
    wire.send("".join(requests))
    answers = [wire.answer() for _ in requests]
    assert [answer.status for answer in answers] == [200, 200, 200, 400] * 40
    for n in range(40):
        assert b"stored" in answers[4 * n].body
        assert b"alive" in answers[4 * n + 1].body
        assert b"uptime_s" in answers[4 * n + 2].body
        assert b"detail" in answers[4 * n + 3].body


REFUSED = (
    head("GET", "/livez", length=999_999_999),
    head("GET", "/%zz"),
    head("GET", "/metrics", "A b: c"),
    head("POST", "/analytics", "Expect: miracles", length=1),
)


def in_chunks(dice, body):
    pieces = []
    while body:
        size = dice.choice([3, 50, 4000])
        piece, body = body[:size], body[size:]
        pieces.append(f"{len(piece):x}\r\n{piece}\r\n")
    return "".join([*pieces, "0\r\n\r\n"])


class Talker:
    """A client that sends bit by bit what can only have one answer: each of its requests has its
    fault at another datapoint; a last one may be refused for its head."""

    def __init__(self, shared, dice):
        self.wire = Wire(shared.address)
        self.faults = [dice.randrange(1, 900) for _ in range(dice.choice([1, 1, 2, 4]))]
        self.refused = dice.random() < 0.3
        requests = [self._request(shared, dice, fault) for fault in self.faults]
        self.left = "".join([*requests, dice.choice(REFUSED) if self.refused else ""]).encode()

    def _request(self, shared, dice, fault):
        points = '{"key": "a", "value": 1}, ' * fault
        body = f'{{"product": 10, "timestamp": 1, "data": [{points}{{"value": 1}}]}}'
        fields = [f"Padding: {'x' * dice.choice([0, 10, 2000])}"]
        if dice.random() < 0.4:
            fields.append("Transfer-Encoding: chunked")
            return head("POST", "/analytics", *fields, token=shared.token()) + in_chunks(dice, body)
        return post(shared, *fields, body=body)

    def send(self, size):
        self.wire.send(self.left[:size])
        self.left = self.left[size:]

    def check(self):
        with self.wire:
            for fault in self.faults:
                answer = self.wire.answer()
                assert (answer.status, answer.detail) == (400, f"data[{fault}].key: is missing")
            if self.refused:
                assert 400 <= self.wire.answer().status < 500


def test_every_answer_is_that_of_its_own_request(shared):
    dice = random.Random(7)
    talkers = []
    for _ in range(300):
        talkers.append(Talker(shared, dice))
        while len(talkers) >= 12:
            talker = dice.choice(talkers)
            talker.send(dice.choice([1, 20, 200, 1000, 5000]))
            if not talker.left:
                talkers.remove(talker)
                talker.check()
    for talker in talkers:
        talker.send(len(talker.left))
        talker.check()


def test_a_request_may_arrive_byte_by_byte(shared, wire):
    for byte in post(shared):
        wire.send(byte)
    assert wire.answer().status == 200


def test_close_closes(wire):
    wire.send(head("GET", "/livez", "Connection: close"))
    assert wire.answer().status == 200
    assert wire.is_closed()


def test_http_1_0_closes_unless_it_is_asked_to_stay(shared):
    with Wire(shared.address) as wire:
        wire.send("GET /livez HTTP/1.0\r\n\r\n")
        assert wire.answer().status == 200
        assert wire.is_closed()
    with Wire(shared.address) as wire:
        for _ in range(2):
            wire.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert wire.answer().status == 200


def test_a_client_that_leaves_early_harms_nobody(shared):
    for cut in (10, 60, len(post(shared)) - 1, len(post(shared))):
        with Wire(shared.address) as wire:
            wire.send(post(shared)[:cut])
    assert shared.get("/livez").status_code == 200


# -- malformed


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/x.y\r\nHost: x\r\n\r\n",
        b"GET livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G(T /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /li\x00vez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nName : value\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n",
        b"POST /analytics HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /analytics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /analytics HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        b"POST /analytics HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\n{}",
        b"POST /analytics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        b"POST /analytics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_malformed_request_is_400_and_ends_the_connection(wire, request_bytes):
    wire.send(request_bytes)
    answer = wire.answer()
    assert answer.status == 400
    assert answer.detail
    assert wire.is_closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 100000 + b"\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 500 + b"\r\n", 431),
        (b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ],
)
def test_what_the_engine_does_not_do_has_its_own_answer(wire, request_bytes, status):
    wire.send(request_bytes)
    answer = wire.answer()
    assert answer.status == status or (status is None and 400 <= answer.status < 600)
    assert answer.detail
    assert wire.is_closed()


def test_a_body_over_the_limit_is_413_before_it_is_sent(shared, wire):
    wire.send(head("POST", "/analytics", token=shared.token(), length=(20 << 20) + 1))
    answer = wire.answer()
    assert answer.status == 413
    assert answer.detail


# -- slow


@pytest.fixture
def hasty(engines):
    return engines(HEADER_TIMEOUT="300ms", BODY_TIMEOUT="300ms", IDLE_TIMEOUT="300ms")


def cut(wire):
    """How a slow connection ends: with 408, or without an answer."""
    try:
        answer = wire.answer()
    except Closed as closed:
        assert closed.args == (b"",)
        return None
    assert answer.detail
    assert wire.is_closed()
    return answer.status


def test_slow_headers_are_cut(hasty):
    with Wire(hasty.address) as wire:
        wire.send("GET /livez HTTP/1.1\r\n")
        assert cut(wire) == 408
    with Wire(hasty.address) as wire:  # a little at a time does not help
        with pytest.raises((BrokenPipeError, ConnectionResetError, Closed)):
            wire.socket.settimeout(0.05)
            for _ in range(400):
                wire.send("A: b\r\n")
                try:
                    wire._more()
                except TimeoutError:
                    continue


def test_a_slow_body_is_cut(hasty):
    begun = head("POST", "/analytics", token=hasty.token(), length=100) + "{"
    with Wire(hasty.address) as wire:
        wire.send(begun)
        assert cut(wire) == 408
    with Wire(hasty.address) as wire:
        wire.send(head("POST", "/analytics", "Transfer-Encoding: chunked") + "1\r\n{\r\n")
        assert cut(wire) == 408


def test_an_idle_connection_is_closed(hasty):
    with Wire(hasty.address) as wire:
        wire.send(head("GET", "/livez"))
        assert wire.answer().status == 200
        assert cut(wire) is None
    with Wire(hasty.address) as wire:
        assert cut(wire) in (None, 408)


def test_slow_clients_are_counted(hasty):
    with Wire(hasty.address) as wire:
        wire.send("GET /livez HTTP/1.1\r\n")
        assert cut(wire) == 408
    assert hasty.metrics()["labs_analytics_http_timeouts_total"] >= 1


def test_nothing_of_a_cut_request_is_stored(hasty):
    begun = head("POST", "/analytics", token=hasty.token(), length=len(BODY) + 1) + BODY
    with Wire(hasty.address) as wire:
        wire.send(begun)
        assert cut(wire) == 408
    assert hasty.counts()["accepted"] == 0


def test_more_connections_than_allowed_wait_their_turn(engines):
    engine = engines(MAX_CONNECTIONS=3, WORKERS=1)  # one is the harness's own
    first, second = Wire(engine.address), Wire(engine.address)
    with first, second, Wire(engine.address) as third:
        for wire in (first, second):
            wire.send(head("GET", "/livez"))
            assert wire.answer().status == 200
        third.send(head("GET", "/livez"))
        assert engine.metrics()["labs_analytics_http_connections"] == 3
        first.socket.close()
        assert third.answer().status == 200
