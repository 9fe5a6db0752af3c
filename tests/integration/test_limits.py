"""What a caller may do a second, and what connections and bodies may take."""

import contextlib
import json

import pytest
from support.engine import a_transaction
from support.instrumented import plain_only
from support.wire import Wire, head


def limited(engine, what):
    return engine.metrics()[f'labs_analytics_requests_limited_total{{limit="{what}"}}']


def assert_limited(answer, what, rate):
    assert answer.status_code == 429
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Retry-After"]) >= 1
    assert f"{rate} {what} a second" in answer.json()["detail"]
    assert answer.headers["Retry-After"] in answer.json()["detail"]


def batch(engine, count, datapoints=10, **arguments):
    body = [a_transaction(datapoints) for _ in range(count)]
    return engine.post(body, path="/v1/transactions", **arguments)


# -- requests and datapoints a second


def test_requests_over_the_rate_are_refused_and_others_are_not(engines):
    engine = engines(URN_REQUESTS_PER_SECOND=1, RATE_BURST="10s", WORKERS=2)
    clubs = engine.token("urn:pennlabs:clubs")
    answers = [engine.post(a_transaction(), token=clubs) for _ in range(40)]
    refused = [answer for answer in answers if answer.status_code != 200]
    accepted = len(answers) - len(refused)
    assert 10 <= accepted < 40
    assert refused
    for answer in refused:
        assert_limited(answer, "requests", 1)
    assert limited(engine, "requests") == len(refused)
    assert engine.post(a_transaction(), token=engine.token("urn:pennlabs:ohq")).status_code == 200


def test_another_token_of_the_same_caller_has_no_rate_of_its_own(engines):
    engine = engines(URN_REQUESTS_PER_SECOND=1, RATE_BURST="10s", TOKEN_CACHE=0)
    tokens = [engine.token("urn:pennlabs:clubs", ttl=f"{n}h") for n in range(1, 5)]
    answers = [engine.post(a_transaction(), token=tokens[n % 4]) for n in range(40)]
    assert {answer.status_code for answer in answers} == {200, 429}


def test_reading_counts_as_requests_too(engines):
    engine = engines(URN_REQUESTS_PER_SECOND=1, RATE_BURST="5s")
    answers = [engine.get("/v1/status") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200, 429}
    for path in ("/livez", "/readyz", "/metrics"):
        assert engine.get(path, token=None).status_code == 200


def test_who_waits_as_long_as_told_is_let_in_again(engines):
    engine = engines(URN_REQUESTS_PER_SECOND=5, RATE_BURST="1s")
    engine.wait_until(lambda: engine.post(a_transaction()).status_code == 429, what="a refusal")
    answer = engine.wait_until(
        lambda: next(filter(lambda a: a.status_code == 200, [engine.post(a_transaction())]), None),
        what="to be let in again",
    )
    assert answer.json()["id"]


def test_a_batch_over_the_rate_is_taken_once_and_then_paid_for(engines):
    engine = engines(URN_DATAPOINTS_PER_SECOND=10, RATE_BURST="1s")
    answer = batch(engine, 100)
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 100
    refused = batch(engine, 1)
    assert_limited(refused, "datapoints", 10)
    assert 80 <= int(refused.headers["Retry-After"]) <= 100
    assert_limited(engine.post(a_transaction()), "datapoints", 10)
    assert limited(engine, "datapoints") == 2
    assert limited(engine, "requests") == 0
    assert engine.get("/v1/status").status_code == 200  # reading brings no datapoints


def test_single_transactions_pay_for_their_datapoints(engines):
    engine = engines(URN_DATAPOINTS_PER_SECOND=1, RATE_BURST="100s")
    answers = [engine.post(a_transaction(datapoints=60)).status_code for _ in range(4)]
    assert answers == [200, 200, 429, 429]


def test_a_transaction_that_is_rejected_costs_one(engines):
    engine = engines(URN_DATAPOINTS_PER_SECOND=1, RATE_BURST="100s")
    body = json.dumps([{"product": "NONE"}] * 200)
    assert engine.post(body, path="/v1/transactions").status_code == 202
    assert_limited(batch(engine, 1), "datapoints", 1)


@pytest.mark.parametrize("path", ["/analytics", "/v1/transactions"])
def test_a_single_transaction_that_is_rejected_costs_one(engines, path):
    engine = engines(URN_DATAPOINTS_PER_SECOND=1, RATE_BURST="5s")
    answers = []

    def refused():
        answers.append(engine.post({"product": "NONE"}, path=path))
        return answers[-1].status_code == 429

    engine.wait_until(refused, what="a refusal")
    assert_limited(answers[-1], "datapoints", 1)


def test_without_a_limit_nothing_is_refused(shared):
    assert {shared.get("/v1/status").status_code for _ in range(50)} == {200}


def test_callers_beyond_the_bound_share_one_rate(engines):
    engine = engines(URN_REQUESTS_PER_SECOND=1, RATE_BURST="20s", RATE_METERS=1)
    tokens = [engine.token(f"urn:pennlabs:{name}") for name in ("one", "two", "three")]
    for token in tokens:
        assert engine.post(a_transaction(), token=token).status_code == 200
    statuses = [engine.post(a_transaction(), token=tokens[1]).status_code for _ in range(40)]
    assert 429 in statuses
    assert engine.post(a_transaction(), token=tokens[2]).status_code == 429
    assert engine.post(a_transaction(), token=tokens[0]).status_code == 200


@pytest.mark.parametrize("limit", ["URN_REQUESTS_PER_SECOND", "URN_DATAPOINTS_PER_SECOND"])
def test_a_limit_holds_for_every_form_of_writing(engines, limit):
    engine = engines(**{limit: 1, "RATE_BURST": "5s"})
    for path in ("/analytics", "/analytics/", "/v1/transactions"):
        engine.wait_until(
            lambda path=path: engine.post(a_transaction(), path=path).status_code == 429,
            what="a refusal",
        )


# -- connections of an address, memory of bodies

MIB = 1024 * 1024
LARGE = 10 * MIB


def test_an_address_with_too_many_connections_is_told_so(engines):
    engine = engines(MAX_CONNECTIONS_PER_ADDRESS=5)
    with contextlib.ExitStack() as held:
        before = engine.metrics()["labs_analytics_http_connections_refused_total"]  # keeps one
        for _ in range(4):
            wire = held.enter_context(Wire(engine.address))
            wire.send(head("GET", "/livez"))
            assert wire.answer().status == 200
        for _ in range(10):
            with Wire(engine.address) as wire:
                answer = wire.answer()
                assert answer.status == 503
                assert int(answer.headers["retry-after"]) >= 1
                assert "too many connections" in answer.detail
                assert wire.is_closed()
        metrics = engine.metrics()
        assert metrics["labs_analytics_http_connections_refused_total"] - before == 10
    engine.wait_until(lambda: engine.metrics()["labs_analytics_http_connections"] == 1)
    with Wire(engine.address) as wire:
        wire.send(head("GET", "/livez"))
        assert wire.answer().status == 200


def half_a_body(engine, stack, chunked, request=("POST", "/v1/transactions"), token="own"):
    """Sends half of a large body and leaves it at that; gives the connection."""
    wire = stack.enter_context(Wire(engine.address))
    half = b" " * (LARGE // 2)
    fields = ["Transfer-Encoding: chunked"] if chunked else []
    length = None if chunked else LARGE
    token = engine.token() if token == "own" else token
    wire.send(head(*request, *fields, token=token, length=length))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be refused by now
        wire.send((b"%x\r\n" % LARGE if chunked else b"") + half)
    return wire


@plain_only
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_half_sent_bodies_take_no_more_memory_than_there_is_for_them(engines, chunked):
    engine = engines(BODY_MEMORY="64MiB", BODY_TIMEOUT="10m", WORKERS=2)
    engine.accept()
    before = engine.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(60):  # 300 MiB
            half_a_body(engine, stack, chunked)
        engine.wait_until(
            lambda: engine.metrics()["labs_analytics_http_bodies_refused_total"] >= 60 - 12 - 1,
            what="most of them to be refused",
        )
        engine.wait_until(
            # What a refused one had sent counts until it is thrown away.
            lambda: 32 * MIB < engine.metrics()["labs_analytics_http_body_bytes"] <= 64 * MIB,
            what="the others to fit",
        )
        for _ in range(20):
            engine.accept()  # small ones go through
        assert engine.resident_bytes() - before < (64 + 32) * MIB
    engine.wait_until(lambda: engine.metrics()["labs_analytics_http_body_bytes"] == 0)
    body = b" " * LARGE + json.dumps(a_transaction()).encode()
    assert engine.post(body, path="/v1/transactions").status_code == 202


@plain_only
@pytest.mark.parametrize("stored", [False, True], ids=["refused", "stored"])
def test_what_follows_a_large_body_keeps_no_memory_of_it(engines, stored):
    engine = engines(WORKERS=2)
    engine.accept()
    before = engine.resident_bytes()
    body = b" " * LARGE + (json.dumps(a_transaction()).encode() if stored else b"")
    request = head("POST", "/analytics", token=engine.token(), length=len(body)).encode() + body
    with contextlib.ExitStack() as stack:
        for _ in range(20):  # 200 MiB
            wire = stack.enter_context(Wire(engine.address))
            wire.send(request + b"G")
            assert wire.answer().status == (200 if stored else 400)
        engine.wait_until(lambda: engine.metrics()["labs_analytics_http_body_bytes"] == 0)
        assert engine.resident_bytes() - before < 64 * MIB


def test_who_is_refused_for_memory_is_told_to_come_again(engines):
    engine = engines(BODY_MEMORY="20MiB", BODY_TIMEOUT="10m")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            half_a_body(engine, stack, chunked=False)
        engine.wait_until(
            lambda: engine.metrics()["labs_analytics_http_body_bytes"] == 4 * LARGE // 2
        )
        answer = half_a_body(engine, stack, chunked=False).answer()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "memory" in answer.detail


def test_batches_go_through_whatever_is_held_for_others(engines):
    """Also where the memory for what was rejected is one that is used again."""
    engine = engines(BODY_MEMORY="20MiB", BODY_TIMEOUT="10m", WORKERS=1)
    mixed = [a_transaction(), *[1] * 400]
    assert engine.post(mixed, path="/v1/transactions").json()["rejected"] == 400
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            half_a_body(engine, stack, chunked=False)
        engine.wait_until(
            lambda: engine.metrics()["labs_analytics_http_body_bytes"] == 4 * LARGE // 2
        )
        assert engine.post([a_transaction()], path="/v1/transactions").status_code == 202
        assert engine.post(mixed, path="/v1/transactions").status_code == 503


NOT_TAKEN = {
    ("POST", "/analytics"): 401,
    ("POST", "/analytics/"): 401,
    ("POST", "/v1/transactions"): 401,
    ("POST", "/v1/users/forget"): 401,
    ("POST", "/v1/keys"): 401,
    ("POST", "/v1/forward"): 413,
    ("GET", "/livez"): 413,
    ("OPTIONS", "/analytics"): 413,
    ("GET", "/analytics"): 405,
    ("POST", "/nowhere"): 404,
}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("request_", NOT_TAKEN, ids=" ".join)
def test_strangers_do_not_fill_the_memory_for_bodies(shared, request_, chunked):
    """Who may not bring a large body is told so before it is taken in."""
    before = shared.metrics()["labs_analytics_http_bodies_refused_total"]
    with contextlib.ExitStack() as stack:
        for token in (None, "x.y.z"):
            wire = half_a_body(shared, stack, chunked, request_, token)
            answer = wire.answer()
            assert answer.status == NOT_TAKEN[request_], answer
            assert answer.detail
            assert wire.is_closed()
    assert shared.metrics()["labs_analytics_http_bodies_refused_total"] == before


def test_a_token_that_may_not_write_brings_no_large_body(engine):
    _, reader = a_key(engine, scope="read")
    _, writer = a_key(engine)
    with contextlib.ExitStack() as stack:
        for path, key, why in (
            ("/v1/transactions", reader, "may not send transactions"),
            ("/v1/users/forget", writer, "may not change anything"),
        ):
            wire = half_a_body(engine, stack, False, ("POST", path), key)
            answer = wire.answer()
            assert (answer.status, why in answer.detail) == (403, True)
            assert wire.is_closed()
            assert engine.log.count(why) == 1


def test_memory_for_bodies_must_hold_one(engines):
    engine = engines(start=False, BODY_MEMORY="10MiB", MAX_BODY_BYTES="20MiB")
    done = engine.command("serve", check=False)
    assert done.returncode == 2
    assert "BODY_MEMORY=10485760: must be at least MAX_BODY_BYTES" in done.stderr


# -- API keys


def a_key(engine, scope="write", **members):
    """(id, key)"""
    if scope == "write":
        members.setdefault("products", ["CLUBS"])
    made = engine.post({"scope": scope} | members, path="/v1/keys").json()
    return made["id"], made["key"]


def exhaust(engine, key):
    engine.wait_until(
        lambda: engine.post(a_transaction(), token=key).status_code == 429, what="a refusal"
    )


def test_a_key_over_its_rate_is_refused_and_others_are_not(engines):
    engine = engines(KEY_REQUESTS_PER_SECOND=1, RATE_BURST="20s")
    (one, key), (_, other) = a_key(engine), a_key(engine)
    answers = [engine.post(a_transaction(), token=key) for _ in range(60)]
    assert {answer.status_code for answer in answers[:20]} == {200}
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert_limited(refused, "requests", 1)
    assert one in refused.json()["detail"]
    assert key not in refused.text
    assert engine.post(a_transaction(), token=other).status_code == 200
    assert engine.post(a_transaction()).status_code == 200  # a URN: no limit


def test_the_url_is_no_way_around_a_rate(engines):
    engine = engines(KEY_REQUESTS_PER_SECOND=1, RATE_BURST="20s")
    _, key = a_key(engine)
    exhaust(engine, key)
    answer = engine.post(a_transaction(), path=f"/v1/transactions?key={key}", token=None)
    assert answer.status_code == 429


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_body_is_counted_once_and_before_it_is_taken_in(engines, chunked):
    engine = engines(KEY_REQUESTS_PER_SECOND=1, RATE_BURST="20s", BODY_TIMEOUT="10m")
    _, key = a_key(engine)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            wire = half_a_body(engine, stack, chunked, token=key)
            rest = LARGE - LARGE // 2
            wire.send(b" " * rest + (b"\r\n0\r\n\r\n" if chunked else b""))
            assert wire.answer().status == 400  # nothing but blanks: but its turn was not refused

        def is_refused():
            wire = half_a_body(engine, stack, chunked, token=key)
            wire.socket.settimeout(0.5)
            try:
                return wire.answer().status == 429
            except TimeoutError:  # taken in, and waited for
                return False

        engine.wait_until(is_refused, what="a refusal before the body is there")


def test_datapoints_are_asked_for_again_when_a_large_body_is_there(engines):
    engine = engines(KEY_DATAPOINTS_PER_SECOND=1, RATE_BURST="1s", BODY_TIMEOUT="10m")
    _, key = a_key(engine)
    batch = json.dumps([a_transaction(100) for _ in range(10)]).encode()
    with contextlib.ExitStack() as stack:
        wires = [half_a_body(engine, stack, False, token=key) for _ in range(2)]
        engine.wait_until(
            lambda: engine.metrics()["labs_analytics_http_body_bytes"] == 2 * (LARGE // 2),
            what="both to be let in",
        )
        statuses = []
        for wire in wires:
            wire.send(batch.rjust(LARGE - LARGE // 2))
            statuses.append(wire.answer().status)
    assert statuses == [202, 429]


def test_a_rate_outlives_changes_of_the_other_keys(engines):
    engine = engines(KEY_REQUESTS_PER_SECOND=1, RATE_BURST="30s")
    _, key = a_key(engine)
    exhaust(engine, key)
    other, _ = a_key(engine)
    assert engine.request("DELETE", f"/v1/keys/{other}").status_code == 204
    statuses = [engine.post(a_transaction(), token=key).status_code for _ in range(15)]
    assert statuses.count(200) < 10  # a new meter would have let all of them in


def test_datapoints_of_a_key_are_counted(engines):
    engine = engines(KEY_DATAPOINTS_PER_SECOND=10, RATE_BURST="1s")
    _, key = a_key(engine)
    assert batch(engine, 50, token=key).status_code == 202
    assert_limited(batch(engine, 1, token=key), "datapoints", 10)
    assert batch(engine, 50).status_code == 202
