"""What the store refuses for its content: kept, told, tried again, or discarded. The store is
made to refuse by a constraint that the test adds through a connection of its own."""

import pytest
from support.engine import a_transaction
from support.refusing import TABOO, Refusing


@pytest.fixture
def store(store_url):
    return Refusing(store_url)


@pytest.fixture
def refusing(engines, store):
    """An engine whose store refuses."""
    engine = engines(DATABASE_URL=store.url, FORWARD_RETRY_MAX="100ms", FORWARD_RETRY_MIN="10ms")
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    store.refuse()
    return engine


def fail_one(engine, **members):
    """Has one refused; gives its id."""
    data = [{"key": "fine", "value": "1"}, {"key": TABOO, "value": "x '\" 🎉"}]
    identity = engine.accept(data=data, **members)
    engine.wait_until(lambda: engine.transaction(identity)["status"] == "failed")
    return identity


def change(engine, method, identity, tail="", token="own"):
    return engine.request(method, f"/v1/transactions/{identity}{tail}", token=token)


def failed(engine, **parameters):
    answer = engine.get("/v1/transactions", params={"status": "failed"} | parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_refused_transaction_is_kept_with_reason_and_content(refusing):
    identity = fail_one(refusing, pennkey="jdoe")
    found = refusing.transaction(identity)
    assert "no_taboo" in found["error"]
    assert found["attempts"] >= 1
    assert (found["product"], found["pennkey"], found["datapoints"]) == ("CLUBS", "jdoe", 2)
    assert found["data"] == [
        {"key": "fine", "value": "1"},
        {"key": TABOO, "value": "x '\" 🎉"},
    ]
    assert refusing.counts() == {
        "accepted": 1,
        "uncompleted": 0,
        "successful": 0,
        "failed": 1,
        "discarded": 0,
        "damaged": 0,
    }
    assert refusing.events() == []
    assert refusing.status()["store"]["state"] == "up"


def test_one_that_is_refused_holds_up_nobody_else(refusing):
    batch = [a_transaction(datapoints=1) for _ in range(300)]
    batch[137] = a_transaction(data=[{"key": TABOO, "value": None}])
    batch[299] = a_transaction(data=[{"key": TABOO, "value": 1}])
    results = refusing.post(batch, "/v1/transactions").json()["results"]
    ids = [result["id"] for result in results]
    counts = refusing.wait_until_stored()
    assert (counts["successful"], counts["failed"]) == (298, 2)
    bad = [ids[137], ids[299]]
    assert refusing.stored_ids() == {one: 1 for one in ids if one not in bad}
    assert [one["id"] for one in failed(refusing)["transactions"]] == bad
    outcomes = refusing.get("/v1/deliveries").json()["deliveries"]
    assert {one["outcome"] for one in outcomes} == {"stored", "refused"}
    assert "no_taboo" in next(one["error"] for one in outcomes if one["outcome"] == "refused")


def test_failed_ones_survive_a_kill_and_are_not_tried_by_themselves(refusing):
    identity = fail_one(refusing)
    before = refusing.transaction(identity)
    refusing.kill9()
    refusing.start()
    after = refusing.accept()
    refusing.events_of(after)
    assert refusing.transaction(identity) == before
    assert refusing.counts()["failed"] == 1


def test_the_failed_are_paged(refusing):
    sent = [fail_one(refusing) for _ in range(5)]
    first = failed(refusing, limit=2)
    second = failed(refusing, limit=2, after=first["next"])
    third = failed(refusing, limit=2, after=second["next"])
    pages = [first, second, third]
    assert [one["id"] for page in pages for one in page["transactions"]] == sent
    assert third["next"] is None
    assert all(one["status"] == "failed" and one["error"] for one in first["transactions"])


def listed(engine, limit):
    """Every transaction that is listed without a status, page by page: (id, status) each."""
    found, after = [], {}
    while after is not None:
        page = engine.get("/v1/transactions", params={"limit": limit} | after).json()
        assert len(page["transactions"]) <= limit
        found += [(one["id"], one["status"]) for one in page["transactions"]]
        assert all(one == without_data(engine, one["id"]) for one in page["transactions"])
        after = page["next"] and {"after": page["next"]}
    return found


def without_data(engine, identity):
    found = engine.transaction(identity)
    found.pop("data", None)
    return found


def test_without_a_status_all_are_listed_as_they_came(engines, postgres):
    store = Refusing(postgres.url())
    engine = engines(DATABASE_URL=store.url, FORWARD_RETRY_MAX="100ms")
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    store.refuse()
    makers = [engine.accept, lambda: fail_one(engine)]
    sent = [makers[n % 2]() for n in range(8)]
    engine.wait_until_stored()
    postgres.stop()
    sent.append(engine.accept())
    assert change(engine, "POST", sent[1], "/retry").status_code == 202
    assert change(engine, "DELETE", sent[5]).status_code == 200

    states = ["successful", "failed"] * 4 + ["uncompleted"]
    states[1] = "uncompleted"
    expected = list(zip(sent, states, strict=True))
    del expected[5]
    for limit in (1, 2, 3, len(expected), 1000):
        assert listed(engine, limit) == expected


def test_what_failed_long_ago_is_listed_before_what_the_queue_still_holds(engines, store):
    engine = engines(
        DATABASE_URL=store.url,
        SEGMENT_BYTES="16MiB",
        QUEUE_MAX_BYTES="64MiB",
        DURABILITY="os",
        FORWARD_RETRY_MAX="100ms",
    )
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    store.refuse()
    stored = engine.accept()
    long_ago = [fail_one(engine) for _ in range(3)]
    big = a_transaction(data=[{"key": "k", "value": "x" * 8000}] * 1000)
    for _ in range(16):
        engine.wait_until(lambda: engine.post(big).status_code == 200)
    engine.wait_until_stored()
    last = fail_one(engine)
    found = listed(engine, 2)
    assert stored not in [identity for identity, _ in found]
    assert found[:3] == [(identity, "failed") for identity in long_ago]
    assert found[-1] == (last, "failed")
    assert {status for _, status in found[3:-1]} == {"successful"}


def test_a_retry_while_the_store_still_refuses_fails_again(refusing):
    identity = fail_one(refusing)
    attempts = refusing.transaction(identity)["attempts"]
    answer = change(refusing, "POST", identity, "/retry")
    assert answer.status_code == 202
    assert answer.json()["id"] == identity
    found = refusing.wait_until(
        lambda: (
            refusing.transaction(identity)["attempts"] > attempts and refusing.transaction(identity)
        )
    )
    assert found["status"] == "failed"
    assert refusing.counts()["failed"] == 1


def test_a_retry_succeeds_once_the_store_allows_it(refusing, store):
    identity = fail_one(refusing)
    store.allow()
    assert change(refusing, "POST", identity, "/retry").status_code == 202
    counts = refusing.wait_until_stored()
    assert (counts["successful"], counts["failed"]) == (1, 0)
    assert [row["datapoint"] for row in refusing.events_of(identity)] == ["fine", TABOO]
    assert refusing.transaction(identity)["status"] == "successful"
    assert change(refusing, "POST", identity, "/retry").status_code == 409
    refusing.restart()
    assert refusing.stored_ids() == {identity: 2}
    assert refusing.counts()["successful"] == 1


def test_a_retry_while_the_store_is_down_waits_for_it(engines, postgres):
    store = Refusing(postgres.url())
    engine = engines(DATABASE_URL=store.url, FORWARD_RETRY_MAX="100ms")
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    store.refuse()
    identity = fail_one(engine)
    store.allow()
    postgres.stop()
    assert change(engine, "POST", identity, "/retry").status_code == 202
    assert engine.transaction(identity)["status"] == "uncompleted"
    counts = engine.counts()
    assert (counts["uncompleted"], counts["failed"]) == (1, 0)
    for verb, tail in (("POST", "/retry"), ("DELETE", "")):
        assert change(engine, verb, identity, tail).status_code == 409
    waits = engine.get("/v1/transactions", params={"status": "uncompleted"}).json()
    assert [one["id"] for one in waits["transactions"]] == [identity]
    engine.kill9()
    engine.start()
    assert engine.transaction(identity)["status"] == "uncompleted"
    postgres.start()
    engine.wait_until_stored()
    assert engine.stored_ids() == {identity: 2}


def test_what_is_discarded_is_gone(refusing, store):
    identity, other = fail_one(refusing), fail_one(refusing)
    answer = change(refusing, "DELETE", identity)
    assert answer.status_code == 200
    assert change(refusing, "DELETE", identity).status_code == 404
    assert change(refusing, "POST", identity, "/retry").status_code == 404
    assert change(refusing, "GET", identity).status_code == 404
    assert [one["id"] for one in failed(refusing)["transactions"]] == [other]
    counts = refusing.counts()
    assert (counts["accepted"], counts["failed"], counts["discarded"]) == (1, 1, 1)
    store.allow()
    refusing.restart()
    counts = refusing.counts()
    assert (counts["accepted"], counts["failed"], counts["discarded"]) == (1, 1, 1)
    assert refusing.events() == []


def test_only_what_failed_can_be_changed(refusing):
    identity = refusing.accept()
    refusing.wait_until_stored()
    for verb, tail in (("POST", "/retry"), ("DELETE", "")):
        answer = change(refusing, verb, identity, tail)
        assert answer.status_code == 409
        assert answer.json()["detail"]
        for unknown in ("garbage", identity[:8] + "z" * 12):
            assert change(refusing, verb, unknown, tail).status_code == 404


def test_changing_takes_a_token(refusing):
    identity = fail_one(refusing)
    for verb, tail in (("POST", "/retry"), ("DELETE", "")):
        answer = change(refusing, verb, identity, tail, token=None)
        assert answer.status_code == 401
    assert refusing.transaction(identity)["status"] == "failed"


def test_a_missing_table_is_no_fault_of_a_transaction(engines, store_url):
    engine = engines(DATABASE_URL=store_url, FORWARD_RETRY_MAX="100ms")
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    store = Refusing(store_url)
    store.run(*["ALTER TABLE event RENAME TO elsewhere"] * 2)
    identity = engine.accept()
    engine.wait_until(lambda: engine.status()["store"]["state"] == "down")
    assert engine.transaction(identity)["status"] == "uncompleted"
    attempt = engine.get("/v1/deliveries").json()["deliveries"][0]
    assert attempt["outcome"] == "unavailable"
    assert "event" in attempt["error"]
    assert attempt["first_id"] == identity
    store.run(*["ALTER TABLE elsewhere RENAME TO event"] * 2)
    engine.wait_until_stored()
    assert engine.stored_ids() == {identity: 2}
