"""A client's own id makes a repeat harmless."""

import threading

import pytest
from support.engine import a_transaction


def many(engine, *transactions):
    answer = engine.post(list(transactions), "/v1/transactions")
    assert answer.status_code == 202, answer.text
    return [result.get("id") for result in answer.json()["results"]]


def test_a_repeat_is_acknowledged_again_and_stored_once(engine):
    first = engine.accept(id="visit-1")
    assert [engine.accept(id="visit-1") for _ in range(5)] == [first] * 5
    counts = engine.wait_until_stored()
    assert counts["accepted"] == counts["successful"] == 1
    assert engine.stored_ids() == {first: 2}
    assert engine.metrics()["labs_analytics_transactions_duplicate_total"] == 5


def test_a_repeat_is_known_whatever_it_says(engine):
    first = engine.accept(id="visit-1", pennkey="first")
    assert engine.accept(id="visit-1", pennkey="second", datapoints=5) == first
    assert [row["pennkey"] for row in engine.events_of(first)] == ["first"] * 2


def test_the_same_id_of_another_product_is_another_transaction(engine):
    ids = {engine.accept(id="same", product=product) for product in range(11)}
    assert len(ids) == 11
    assert engine.accept(id="same", product="CLUBS") in ids


@pytest.mark.parametrize("other", ["visit-1 ", "Visit-1", "visit-10", "visit-"])
def test_an_id_that_only_looks_alike_is_another(engine, other):
    assert engine.accept(id="visit-1") != engine.accept(id=other)


def test_transactions_without_an_id_are_never_repeats(engine):
    same = a_transaction(timestamp=1790000000)
    ids = {engine.post(same).json()["id"] for _ in range(3)}
    assert len(ids) == 3


def test_a_repeat_within_one_request_is_seen(engine):
    one, other = a_transaction(id="one"), a_transaction(id="other")
    first, again, different, anonymous, last = many(engine, one, one, other, a_transaction(), one)
    assert first == again == last
    assert len({first, different, anonymous}) == 3
    engine.wait_until_stored()
    assert engine.stored_ids() == {first: 2, different: 2, anonymous: 2}


def test_a_repeat_across_the_endpoints_is_seen(engine):
    one = a_transaction(id="one")
    first = engine.post(one).json()["id"]
    assert many(engine, one) == [first]


def test_a_refused_transaction_leaves_its_id_free(engine):
    bad = a_transaction(id="one", data=[])
    assert engine.post(bad).status_code == 400
    assert engine.post([bad, a_transaction(), "{"], "/v1/transactions").status_code == 202
    broken = '[{"id": "one", "product": 1, "timestamp": 1, "data": [{"key": "k", "value": 1}]}, {'
    assert engine.post(broken, "/v1/transactions").status_code == 400
    identity = engine.accept(id="one")
    assert len(engine.events_of(identity)) == 2


def test_repeats_at_the_same_moment_are_stored_once(engine):
    engine.token()
    gate = threading.Barrier(12)
    ids = []

    def send():
        gate.wait()
        ids.append(engine.accept(id="race"))

    for turn in range(3):
        threads = [threading.Thread(target=send) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids) == 12 * (turn + 1)
    assert len(set(ids)) == 1
    assert engine.wait_until_stored()["accepted"] == 1


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_repeat_is_known_after_a_restart(engine, end):
    sent = {f"visit-{n}": engine.accept(id=f"visit-{n}") for n in range(20)}
    if end == "stop":
        engine.stop()
    else:
        engine.kill9()
    engine.start()
    for own, identity in sent.items():
        assert engine.accept(id=own) == identity
    counts = engine.wait_until_stored()
    assert counts["accepted"] == counts["successful"] == 20
    assert engine.stored_ids() == dict.fromkeys(sent.values(), 2)


def test_a_repeat_of_what_still_waits_is_known_after_a_kill(engines, postgres):
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url())
    first = engine.accept(id="waits")
    engine.kill9()
    engine.start()
    assert engine.accept(id="waits") == first
    assert engine.counts()["uncompleted"] == 1
    postgres.start()
    engine.wait_until_stored()
    assert engine.stored_ids() == {first: 2}


def test_the_memory_of_ids_is_bounded_by_its_option(engines):
    engine = engines(DEDUP_IDS=0)
    assert engine.accept(id="visit-1") != engine.accept(id="visit-1")
    engine.restart(DEDUP_IDS=100)
    one = a_transaction(id="one")
    (first,) = many(engine, one)
    many(engine, *(a_transaction(id=f"{n}") for n in range(99)))
    assert many(engine, one) == [first]
    many(engine, *(a_transaction(id=f"more {n}") for n in range(1000)))
    assert many(engine, one) != [first]


KEY = "Idempotency-Key"


@pytest.mark.parametrize("path", ["/analytics", "/v1/transactions"])
def test_the_header_stands_for_the_id(engine, path):
    def send(headers, **members):
        answer = engine.post(a_transaction(**members), path, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        body = answer.json()
        return body["id"] if "id" in body else body["results"][0]["id"]

    key = "A-Z a-z 0-9 ~!" + "x" * 50
    first = send({KEY: key})
    assert send({KEY: key}) == first
    assert send({}, id=key) == first
    assert send({KEY: key}, id=key) == first
    assert send({KEY: key[:-1]}) != first
    assert send({}) != first


@pytest.mark.parametrize("path", ["/analytics", "/v1/transactions"])
@pytest.mark.parametrize("key", ["", "x" * 65, "caf\xe9", "a\tb"])
def test_a_bad_header_is_refused_by_name(engine, path, key):
    answer = engine.post(a_transaction(), path, headers={KEY: key.encode("latin-1")})
    assert answer.status_code == 400
    assert "idempotency-key" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/analytics", "/v1/transactions"])
def test_a_header_that_differs_from_the_id_is_refused(engine, path):
    answer = engine.post(a_transaction(id="one"), path, headers={KEY: "other"})
    assert answer.status_code == 400
    assert answer.json() == {"detail": "idempotency-key: differs from the id in the body"}
    assert engine.counts()["accepted"] == 0


@pytest.mark.parametrize("body", [[a_transaction()], [], [a_transaction(data=[])]])
def test_a_header_over_a_list_is_refused(engine, body):
    answer = engine.post(body, "/v1/transactions", headers={KEY: "one"})
    assert answer.status_code == 400
    assert "idempotency-key" in answer.json()["detail"]
    assert engine.counts()["accepted"] == 0


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_repeat_is_known_after_its_segment_was_recycled(engines, end):
    engine = engines(SEGMENT_BYTES="16MiB")
    sent = {f"visit-{n}": engine.accept(id=f"visit-{n}") for n in range(20)}
    first = engine.data_dir / "queue" / "00000000000000000001.seg"
    assert first.exists()
    large = [{"key": f"key.{n}", "value": "x" * 8000} for n in range(1000)]
    for _ in range(5):
        engine.accept(data=large)
    stored = engine.wait_until_stored()
    engine.wait_until(lambda: not first.exists(), 30, "the first segment to be put away")
    assert list((engine.data_dir / "ids").glob("*.ids"))
    for _ in range(2):
        if end == "stop":
            engine.stop()
        else:
            engine.kill9()
        engine.start()
        assert not first.exists()
        for own, identity in sent.items():
            assert engine.accept(id=own) == identity
        assert engine.counts()["accepted"] == stored["accepted"]
    assert engine.metrics()["labs_analytics_client_ids"] == 20
