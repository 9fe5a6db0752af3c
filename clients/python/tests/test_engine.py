"""The client and the real engine."""

import threading
from collections import Counter

from support import ports
from support.proxy import TO_CLIENT, Proxy
from support.wait import wait_until


def stored(engine):
    """{(datapoint, value): how often it is in the store}, once nothing is under way."""
    engine.wait_until_stored()
    rows = engine.query("SELECT datapoint, value FROM event")
    return Counter((row["datapoint"], row["value"]) for row in rows)


def test_what_is_submitted_is_stored(engine, clients):
    client = clients(engine.url, token=engine.token(), product="CLUBS")
    client.submit(
        [{"key": "club.visit", "value": "penn-labs"}, {"key": "club.n", "value": 2.5}],
        pennkey="jdoe",
        timestamp=1790000000.25,
    )
    client.record("true", True, product=4)
    client.record("null", None)
    client.record("text", "ä \u2028 \n \ud800")
    assert client.flush(30)
    assert client.stats().accepted == 4
    engine.wait_until_stored()
    rows = engine.query("SELECT product, pennkey, datapoint, value FROM event ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("CLUBS", "jdoe", "club.visit", "penn-labs"),
        ("CLUBS", "jdoe", "club.n", "2.5"),
        ("PORTAL", None, "true", "true"),
        ("CLUBS", None, "null", None),
        ("CLUBS", None, "text", "ä \u2028 \n ?"),
    ]


def test_what_the_engine_rejects_is_told_and_the_others_are_stored(engine, clients):
    told = []
    client = clients(
        engine.url,
        token=engine.token(),
        batch_age=3600,
        on_drop=lambda *what: told.append(what),
    )
    client.record("good", 1)
    client.record("", 1)
    client.record("large", "x" * 9000)
    client.record("product", 1, product="NONE")
    client.record("huge", 10**400)
    client.record("good", 2)
    assert client.flush(30)
    assert stored(engine) == Counter(
        {("good", "1"): 1, ("good", "2"): 1, ("huge", str(10**400)): 1}
    )
    assert [(transaction.data[0][0], reason) for transaction, reason in told] == [
        ("", "data.0.key: must not be empty"),
        ("large", "data.0.value: must be at most 8192 bytes long"),
        ("product", "product: is not in the product table"),
    ]


def test_a_body_larger_than_the_engine_takes_goes_in_parts(engines, clients):
    engine = engines(MAX_BODY_BYTES="64KiB")
    client = clients(engine.url, token=engine.token(), batch_age=3600)
    for number in range(40):
        client.record("n", f"{number} " + "x" * 8000)
    assert client.flush(30)
    assert len(stored(engine)) == 40


def test_everything_arrives_once_while_the_engine_is_killed_and_revived(engines, clients):
    port = ports.take()
    engine = engines(listen=f"127.0.0.1:{port}")
    client = clients(
        engine.url, token=engine.token(), batch_count=20, retry_max=0.05, queue_count=100_000
    )
    over = threading.Event()
    submitted = []

    def submit_all_the_while():
        while not over.is_set():
            submitted.append(client.record("n", len(submitted)))
            over.wait(0.0005)

    thread = threading.Thread(target=submit_all_the_while)
    thread.start()
    for _ in range(5):
        before = client.stats().accepted
        engine.wait_until(lambda before=before: client.stats().accepted > before + 50)
        engine.kill9()
        failures = client.stats().failures
        engine.wait_until(lambda failures=failures: client.stats().failures > failures)
        engine.start()
    over.set()
    thread.join()
    assert client.flush(60)
    assert all(submitted)
    assert stored(engine) == Counter({("n", str(n)): 1 for n in range(len(submitted))})


def test_an_answer_that_is_lost_does_not_store_twice(engine, clients):
    proxy = Proxy(("127.0.0.1", int(engine.address.rsplit(":", 1)[1])))
    try:
        client = clients(f"http://{proxy.address}", token=engine.token(), batch_age=3600)
        for number in range(50):
            client.record("n", number)
        trap = proxy.cut_on(b"202", TO_CLIENT)
        assert client.flush(30)
        assert trap.is_set()
        assert stored(engine) == Counter({("n", str(n)): 1 for n in range(50)})
    finally:
        proxy.close()


def test_what_no_engine_can_read_is_given_up_although_it_is_alone(engine, clients, tmp_path):
    client = clients(engine.url, token=engine.token(), spool_dir=tmp_path / "spool")
    client.record("n", 1)
    assert client.flush(30)
    client._worker._spool.put([b"no JSON"])
    client._worker._spool_has_more = True
    client.record("n", 2)
    wait_until(lambda: client.stats().refused == 1)
    assert client.flush(30)
    assert stored(engine) == Counter({("n", "1"): 1, ("n", "2"): 1})


def test_a_client_whose_urn_is_not_allowed_loses_nothing(engines, clients, tmp_path):
    port = ports.take()
    allowing = engines(listen=f"127.0.0.1:{port}")
    token = allowing.token()
    allowing.options["ALLOWED_URNS"] = "urn:pennlabs:other"
    allowing.stop()
    allowing.start()
    client = clients(allowing.url, token=token, spool_dir=tmp_path / "spool", batch_count=10)
    for number in range(50):
        client.record("n", number)
    wait_until(lambda: client.stats().failures >= 2)
    assert client.stats().last_error.startswith("403 ")
    allowing.options.pop("ALLOWED_URNS")
    allowing.stop()
    allowing.start()
    wait_until(lambda: client.stats().accepted == 50)
    assert client.stats().refused == 0
    assert len(stored(allowing)) == 50
