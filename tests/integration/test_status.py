"""What the engine says of itself: /v1/status, /livez, /readyz, /metrics."""

import re
from datetime import UTC, datetime

from support.engine import a_transaction

METRIC = re.compile(r"(labs_analytics_[a-z0-9_]+)(\{[a-z_]+=\"[^\"]*\"\})? (-?[0-9.e+]+)")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_the_status_has_its_shape(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    identity = engine.accept()
    engine.wait_until_stored()
    status = engine.status()
    assert {"node", "version", "uptime_s", "queue", "store", "transactions"} <= set(status)
    assert identity.startswith(status["node"])
    assert status["version"] == engine.command("--version").stdout.split()[1]
    assert 0 < status["uptime_s"] < 600
    queue = status["queue"]
    assert {name: queue[name] for name in ("pending_transactions", "oldest_pending_age_s")} == {
        "pending_transactions": 0,
        "oldest_pending_age_s": 0,
    }
    assert queue["pending_bytes"] == 0
    assert queue["max_bytes"] == 8 << 30
    store = status["store"]
    assert store["kind"] == store_url.split(":")[0]
    assert store["state"] == "up"
    assert store["last_error"] is None
    assert INSTANT.fullmatch(store["last_commit_at"])
    age = datetime.now(UTC) - datetime.fromisoformat(store["last_commit_at"])
    assert abs(age.total_seconds()) < 120
    assert status["transactions"] == {
        "accepted": 1,
        "uncompleted": 0,
        "successful": 1,
        "failed": 0,
        "discarded": 0,
        "damaged": 0,
    }


def test_a_fresh_engine_has_nothing(engine):
    status = engine.wait_until(
        lambda: engine.status()["store"]["state"] == "up" and engine.status()
    )
    assert set(status["transactions"].values()) == {0}
    assert status["queue"]["pending_transactions"] == 0
    assert status["store"]["last_commit_at"] is None


def test_counts_add_up_at_every_moment_under_load(engine):
    batch = [a_transaction(datapoints=1)] * 500
    for _ in range(20):
        assert engine.post(batch, "/v1/transactions").status_code == 202
        engine.counts()  # checks that they add up
    counts = engine.wait_until_stored()
    assert counts["accepted"] == counts["successful"] == 10000
    assert len(engine.stored_ids()) == 10000


def test_counts_survive_restarts_and_kills(engine):
    for turn in range(1, 5):
        for _ in range(5):
            engine.accept()
        assert engine.counts()["accepted"] == 5 * turn
        if turn % 2:
            engine.kill9()
            engine.start()
        else:
            engine.restart()
        assert engine.counts()["accepted"] == 5 * turn
        assert engine.wait_until_stored()["successful"] == 5 * turn


def test_what_waits_is_counted_with_its_age(engines, postgres):
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url())
    for _ in range(3):
        engine.accept()
    status = engine.status()
    assert status["queue"]["pending_transactions"] == 3
    assert status["queue"]["pending_bytes"] > 0
    engine.wait_until(lambda: engine.status()["queue"]["oldest_pending_age_s"] > 0.2)
    assert status["transactions"]["uncompleted"] == status["transactions"]["accepted"] == 3
    engine.wait_until(lambda: engine.status()["store"]["last_error"])
    assert engine.status()["store"]["state"] == "down"


def test_the_password_of_the_store_is_told_to_nobody(engines, postgres):
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url(), LOG_LEVEL="debug")
    engine.accept()
    engine.wait_until(lambda: engine.status()["store"]["last_error"])
    told = [engine.get("/v1/status").text, engine.get("/v1/deliveries").text, engine.full_log]
    told += [engine.command("config").stdout, engine.command("status").stdout]
    postgres.start()
    engine.wait_until_stored()
    assert not [text for text in told if "labs-pass" in text]


# -- for machines


def test_a_live_engine_says_so(shared):
    answer = shared.get("/livez", token=None)
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_an_engine_whose_store_is_down_is_ready(engines, postgres):
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url())
    engine.accept()
    engine.wait_until(lambda: engine.status()["store"]["last_error"])
    answer = engine.get("/readyz", token=None)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_a_full_queue_is_503_and_not_ready_until_there_is_room(engines, postgres):
    postgres.stop()
    engine = engines(
        DATABASE_URL=postgres.url(),
        QUEUE_MAX_BYTES="64MiB",
        SEGMENT_BYTES="16MiB",
        FORWARD_RETRY_MAX="200ms",
    )
    big = a_transaction(data=[{"key": "k", "value": "x" * 8000}] * 900)
    sent = []

    def refused():
        answer = engine.post(big)
        if answer.status_code == 200:
            sent.append(answer.json()["id"])
            return None
        return [answer]  # requests' answers are false when they are errors

    (answer,) = engine.wait_until(refused)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["detail"]
    assert 2 <= len(sent) <= 9
    for path in ("/analytics", "/v1/transactions"):
        again = engine.post(big, path)
        assert (again.status_code, "Retry-After" in again.headers) == (503, True)
    ready = engine.get("/readyz", token=None)
    assert ready.status_code == 503
    assert "Retry-After" in ready.headers
    assert ready.json()["detail"]
    assert engine.get("/livez", token=None).status_code == 200
    assert engine.status()["refusing"]
    assert engine.metrics()["labs_analytics_requests_refused_total"] >= 3
    assert engine.counts()["uncompleted"] == len(sent)
    postgres.start()
    engine.wait_until_stored()
    engine.wait_until(lambda: engine.get("/readyz", token=None).status_code == 200)
    sent.append(engine.wait_until(lambda: engine.post(big).json()["id"]))
    engine.wait_until_stored()
    assert engine.stored_ids() == dict.fromkeys(sent, 900)


def test_metrics_are_prometheus_text(engine):
    engine.accept()
    engine.post({})
    answer = engine.get("/metrics", token=None)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.split("\n")
    assert lines.pop() == ""
    helped, typed, seen, current = set(), {}, set(), None
    for line in lines:
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert current not in helped and line.split(" ", 3)[3]
            helped.add(current)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current and kind in ("counter", "gauge")
            assert kind == "gauge" or name.endswith("_total")
            typed[name] = kind
        else:
            found = METRIC.fullmatch(line)
            assert found, line
            assert found[1] == current, line
            float(found[3])
            assert found[0].rsplit(" ", 1)[0] not in seen
            seen.add(found[0].rsplit(" ", 1)[0])
    assert helped == set(typed)


def test_metrics_and_status_say_the_same(engine):
    for n in range(5):
        engine.accept(datapoints=n + 1)
    assert engine.post({}).status_code == 400
    assert engine.post([{}, a_transaction()], "/v1/transactions").status_code == 202
    engine.wait_until_stored()
    metrics = engine.metrics()

    def metric(name):
        return metrics[f"labs_analytics_{name}"]

    assert metric('transactions{status="successful"}') == 6
    assert metric('transactions{status="uncompleted"}') == 0
    assert metric('transactions{status="failed"}') == 0
    assert metric('transactions_received_total{result="accepted"}') == 6
    assert metric('transactions_received_total{result="rejected"}') == 2
    assert metric("datapoints_received_total") == 17
    assert metric("store_rows_total") == 17
    assert metric("store_transactions_total") == 6
    assert metric("store_up") == 1
    assert metric("queue_pending_transactions") == 0
    assert metric("queue_refusing") == 0
    assert metric('http_responses_total{class="2xx"}') >= 6
    assert metric('http_responses_total{class="4xx"}') >= 1
    assert metric('http_responses_total{class="5xx"}') == 0
