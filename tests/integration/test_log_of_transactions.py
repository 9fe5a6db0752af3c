"""Reading the log: /v1/transactions/{id}, the list, /v1/deliveries."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from support.engine import a_transaction

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
MEMBERS = [
    "id",
    "status",
    "product",
    "pennkey",
    "timestamp",
    "received_at",
    "datapoints",
    "attempts",
    "error",
]


@pytest.fixture
def waiting(engines, postgres):
    """An engine whose store is down."""
    postgres.stop()
    return engines(DATABASE_URL=postgres.url(), FORWARD_RETRY_MAX="200ms", FORWARD_BATCH_AGE="0s")


def listed(engine, **parameters):
    answer = engine.get("/v1/transactions", params=parameters)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"transactions", "next"}
    return answer.json()


def ids_of(page):
    return [one["id"] for one in page["transactions"]]


def deliveries(engine, **parameters):
    answer = engine.get("/v1/deliveries", params=parameters)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"deliveries"}
    return answer.json()["deliveries"]


# -- one


def test_a_transaction_is_uncompleted_and_then_successful(waiting, postgres):
    identity = waiting.accept(product=9, pennkey="jdoe", timestamp=1790000000.25, datapoints=3)
    found = waiting.transaction(identity)
    assert list(found) == MEMBERS
    received = found.pop("received_at")
    assert INSTANT.fullmatch(received)
    assert found == {
        "id": identity,
        "status": "uncompleted",
        "product": "OHQ",
        "pennkey": "jdoe",
        "timestamp": "2026-09-21T14:13:20.250000Z",
        "datapoints": 3,
        "attempts": 0,
        "error": None,
    }
    postgres.start()
    waiting.wait_until_stored()
    assert waiting.transaction(identity) == found | {
        "received_at": received,
        "status": "successful",
        "attempts": 1,
    }


def test_a_stored_transaction_is_found_after_a_restart(engine):
    identity = engine.accept()
    engine.wait_until_stored()
    before = engine.transaction(identity)
    assert before["status"] == "successful"
    engine.restart()
    assert engine.transaction(identity) == before


@pytest.mark.parametrize(
    "identity",
    [
        "garbage",
        "0",
        "0" * 20,
        "z" * 20,
        "0" * 19,
        "0" * 21,
        "x" * 500,
        "%E2%82%AC",
        "a%2Fb",
        "a%20b",
        "..%2f..",
        "';--",
        "%ff",
        "-1",
    ],
)
def test_what_is_no_id_is_404(shared, identity):
    answer = shared.get(f"/v1/transactions/{identity}")
    assert answer.status_code == 404
    assert answer.json()["detail"]


def test_an_id_that_was_never_given_is_404(shared):
    identity = shared.accept()
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    node, position = identity[:8], identity[8:]
    for other in (
        node + "z" * 12,
        node + position[:-1] + alphabet[(alphabet.index(position[-1]) + 1) % 32],
        identity + "0",
        identity[:-1],
    ):
        assert shared.get(f"/v1/transactions/{other}").status_code == 404


def test_the_transaction_of_another_engine_is_404(shared, engine):
    assert shared.get(f"/v1/transactions/{engine.accept()}").status_code == 404


def test_an_id_in_capitals_is_the_same_or_404(shared):
    identity = shared.accept()
    answer = shared.get(f"/v1/transactions/{identity.upper()}")
    assert answer.status_code == 404 or answer.json()["id"] == identity


def test_a_transaction_that_left_the_queue_is_found_in_the_store(engines, store_url):
    engine = engines(
        DATABASE_URL=store_url, SEGMENT_BYTES="16MiB", QUEUE_MAX_BYTES="64MiB", DURABILITY="os"
    )
    first = engine.accept(product="PCR", pennkey=None, timestamp=1790000000.5, datapoints=7)
    big = a_transaction(data=[{"key": "k", "value": "x" * 8000}] * 1000)
    before = engine.transaction(first)
    for _ in range(16):
        engine.wait_until(lambda: engine.post(big).status_code == 200)
    engine.wait_until_stored()
    assert engine.transaction(first) == before | {"status": "successful", "attempts": 1}


# -- the list


def test_an_engine_without_failures_lists_none(shared):
    assert listed(shared, status="failed") == {"transactions": [], "next": None}


def test_what_waits_is_listed_newest_last(waiting, postgres):
    sent = [waiting.accept(datapoints=n + 1) for n in range(7)]
    page = listed(waiting, status="uncompleted")
    assert ids_of(page) == sent
    assert page["next"] is None
    assert [one["datapoints"] for one in page["transactions"]] == list(range(1, 8))
    for one in page["transactions"]:
        assert list(one) == MEMBERS
        assert one == waiting.transaction(one["id"])
    postgres.start()
    waiting.wait_until_stored()
    assert listed(waiting, status="uncompleted")["transactions"] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_the_list_is_paged(waiting, limit):
    sent = [waiting.accept() for _ in range(7)]
    found, after = [], {}
    for _ in range(20):
        page = listed(waiting, status="uncompleted", limit=limit, **after)
        assert len(page["transactions"]) <= limit
        found += ids_of(page)
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == sent


def test_a_page_begins_after_any_id(waiting):
    sent = [waiting.accept() for _ in range(5)]
    for n, identity in enumerate(sent):
        assert ids_of(listed(waiting, status="uncompleted", after=identity)) == sent[n + 1 :]


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "status=",
        "status=successful%00",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.5",
        "limit=99999999999999999999",
        "after=garbage",
        "after=",
        "after=%zz",
    ],
)
def test_a_parameter_that_is_wrong_is_400_and_named(shared, query):
    answer = shared.get(f"/v1/transactions?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(query.split("=")[0] + ": ")


def test_after_takes_no_id_of_another_engine(shared, engine):
    answer = shared.get("/v1/transactions", params={"after": engine.accept()})
    assert answer.status_code == 400


def test_parameters_that_nobody_knows_are_ignored(shared):
    assert listed(shared, status="failed", colour="blue")["transactions"] == []


def test_what_was_stored_is_listed_as_far_as_the_queue_holds_it(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    sent = [engine.accept(datapoints=n + 1) for n in range(5)]
    engine.wait_until_stored()
    page = listed(engine, status="successful", limit=3)
    assert ids_of(page) == sent[:3]
    rest = listed(engine, status="successful", limit=3, after=page["next"])
    assert (ids_of(rest), rest["next"]) == (sent[3:], None)
    for one in page["transactions"]:
        assert one == engine.transaction(one["id"])
    assert listed(engine, status="uncompleted")["transactions"] == []


def test_a_long_page_is_whole(waiting):
    batch = [a_transaction(pennkey=f"user{n}", datapoints=1) for n in range(1500)]
    results = waiting.post(batch, "/v1/transactions").json()["results"]
    sent = [one["id"] for one in results]
    page = listed(waiting, status="uncompleted", limit=1000)
    assert ids_of(page) == sent[:1000]
    page = listed(waiting, status="uncompleted", limit=1000, after=page["next"])
    assert ids_of(page) == sent[1000:]
    assert page["transactions"][-1]["pennkey"] == "user1499"


# -- deliveries


def test_each_delivery_is_listed(engine):
    first = engine.accept(datapoints=3)
    engine.wait_until_stored()
    before = datetime.now(UTC)
    second = engine.accept(datapoints=4)
    engine.wait_until_stored()
    newest, oldest = engine.wait_until(lambda: len(deliveries(engine)) == 2 and deliveries(engine))
    assert INSTANT.fullmatch(newest["started_at"])
    started = datetime.fromisoformat(newest["started_at"])
    ended = started + timedelta(seconds=newest["duration_s"])
    assert before <= started <= ended <= datetime.now(UTC)
    assert {name: newest[name] for name in ("first_id", "last_id", "transactions", "rows")} == {
        "first_id": second,
        "last_id": second,
        "transactions": 1,
        "rows": 4,
    }
    assert (newest["outcome"], newest["error"]) == ("stored", None)
    assert (oldest["first_id"], oldest["rows"]) == (first, 3)
    assert deliveries(engine, limit=1) == [newest]
    engine.restart()
    assert deliveries(engine)[:2] == [newest, oldest]


def test_the_ledger_keeps_as_many_deliveries_as_it_is_told(engines):
    engine = engines(DELIVERIES_KEPT=3, FORWARD_BATCH_AGE="0s")
    for _ in range(8):
        engine.accept()
        engine.wait_until_stored()
    engine.wait_until(lambda: 3 <= len(deliveries(engine)) <= 4)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x"])
def test_a_wrong_limit_of_deliveries_is_400(shared, query):
    assert shared.get(f"/v1/deliveries?{query}").status_code == 400
