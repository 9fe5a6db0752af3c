"""Much at a time: connections, large bodies, repeats, a store that dies again and again, a day.

Every client sends each transaction until it has been acknowledged, so in the end the store must
hold exactly what the clients were told, by tag and by id. `make stress` (LABS_SCALE=10) does
what the names say; `make test` a part of it. Figures are printed (pytest -s).
"""

import datetime
import resource
import threading
import time

import pytest
from fault.shim import Shim
from fault.told import DOWN, UP, times, wait_until_down, wait_until_up
from stress.test_memory import memory
from support.instrumented import VALGRIND, plain_only
from support.pump import Pump

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(VALGRIND, reason="valgrind's time is its own"),
]

QUICK = {"FORWARD_RETRY_MIN": "10ms", "FORWARD_RETRY_MAX": "200ms", "STORE_TIMEOUT": "2s"}
HOUR = 3600


def reconcile(engine, pump, seconds):
    """Each tag that was sent is in the store once, under the id that its client was told."""
    counts = engine.wait_until_stored(timeout=120)
    rows = engine.query(
        "SELECT transaction_id AS id, count(*) AS n, min(value) AS value FROM event GROUP BY 1"
    )
    assert all(row["n"] == 1 for row in rows)
    stored = {row["value"].split(" ")[0]: row["id"] for row in rows}
    assert len(stored) == len(rows), "a transaction is stored twice"
    assert len(pump.told) == pump.made
    assert stored == pump.told
    assert (counts["successful"], counts["failed"]) == (len(rows), 0)
    print(f"\n{pump.made} transactions acknowledged in {seconds:.1f} s, {len(rows)} stored once")


def test_ten_thousand_connections(engines, postgres, scale):
    connections = 10_000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < connections + 200:
        pytest.skip(f"only {most} files may be open here")
    engine = engines(DATABASE_URL=postgres.url(), MAX_CONNECTIONS=connections + 10)
    count = int(10_000 + 10_000 * scale)
    started = time.monotonic()
    with Pump(engine.address, engine.token(), connections, count=count) as pump:
        # A connection is there before the engine has taken it.
        engine.wait_until(
            lambda: engine.metrics()["labs_analytics_http_connections"] >= connections
        )
    reconcile(engine, pump, time.monotonic() - started)


def test_full_rate_while_the_store_is_killed_and_revived(engines, postgres, scale):
    """Ten times in 30 s; in the short form two times."""
    kills = min(10, max(2, int(scale)))
    engine = engines(DATABASE_URL=postgres.url(), **QUICK)
    wait_until_up(engine)

    def more_are_taken():
        """A second of it."""
        until = time.monotonic() + 1
        before = engine.counts()["accepted"]
        engine.wait_until(
            lambda: time.monotonic() >= until and engine.counts()["accepted"] > before
        )

    started = time.monotonic()
    with Pump(engine.address, engine.token(), 64, batch=10) as pump:
        for _ in range(kills):
            more_are_taken()
            postgres.kill()
            wait_until_down(engine)
            more_are_taken()
            postgres.start()
            wait_until_up(engine)
    reconcile(engine, pump, time.monotonic() - started)
    assert times(engine, DOWN) == times(engine, UP) == kills, engine.log


@plain_only
def test_bodies_of_20_mib(engines, postgres, scale):
    engine = engines(DATABASE_URL=postgres.url(), BODY_MEMORY="64MiB")
    settings = {"batch": 10_000, "value": 1970, "count": int(50_000 * scale)}
    started = time.monotonic()
    with Pump(engine.address, engine.token(), 6, **settings) as pump:
        pass
    seconds = time.monotonic() - started
    assert 19.5 * (1 << 20) < pump.largest <= 20 << 20
    reconcile(engine, pump, seconds)
    peak = memory(engine)["VmHWM"]
    print(f"{peak >> 20} MiB of memory at most")
    assert peak < 384 << 20
    answer = engine.post(b"[" + b" " * (20 << 20) + b"]", "/v1/transactions")
    assert answer.status_code == 413


def test_a_million_transactions_with_repeats_among_them(engines, postgres, scale):
    """A fifth is sent again, while and after it is stored."""
    engine = engines(DATABASE_URL=postgres.url())
    settings = {"batch": 500, "again": 0.2, "count": int(100_000 * scale)}
    started = time.monotonic()
    with Pump(engine.address, engine.token(), 4, **settings) as pump:
        pass
    seconds = time.monotonic() - started
    assert pump.repeats > 0.1 * pump.made
    reconcile(engine, pump, seconds)
    assert engine.metrics()["labs_analytics_transactions_duplicate_total"] == pump.repeats


def test_a_day_with_a_window_at_night(engines, postgres, tmp_path, scale):
    """At 1,000 times its speed (6,000 in the short form): the engine's clock of the day goes so
    fast, and so do its clients; what it measures by the other clock stays as it is."""
    factor = 1000 if scale >= 10 else 6000
    transactions = int(20_000 * scale)
    begun = int(time.time())
    dawn = int(datetime.datetime(2026, 3, 2, 4, 0, tzinfo=datetime.UTC).timestamp())
    engine = engines(
        DATABASE_URL=postgres.url(),
        FORWARD_WINDOW="22:00-04:00",
        TZ="UTC",
        LABS_SHIM_CLOCK=f"{begun} {dawn} {factor}",
        **Shim(tmp_path / "shim").options(),
        **QUICK,
    )

    def hour():
        """Of the engine's time, from midnight of the first day on."""
        return 4 + (time.time() - begun) * factor / HOUR

    def wait_for_hour(wanted):
        left = (wanted - hour()) * HOUR / factor
        engine.wait_until(lambda: hour() > wanted, 30 + left, f"hour {wanted}")

    samples = []
    ended = threading.Event()

    def watch():
        while not ended.wait(0.05):
            before = hour()
            counts = engine.counts()
            samples.append((before, hour(), counts["accepted"], counts["successful"]))

    token = engine.token(ttl="8760h")
    engine.token = lambda: token  # the ordinary one is for a day
    watcher = threading.Thread(target=watch, daemon=True)
    started = time.monotonic()
    day = [(28 - hour()) * HOUR / factor, transactions]
    with Pump(engine.address, token, 16, batch=5, day=day) as pump:
        watcher.start()
        wait_for_hour(12)
        queue = engine.status()["queue"]
        wait_for_hour(29)
    ended.set()
    watcher.join()
    by_day = [(accepted, stored) for _, until, accepted, stored in samples if until < 22]
    assert len(by_day) > 5 and by_day[-1][0] > by_day[0][0]
    assert {stored for _, stored in by_day} == {0}, "something was stored by day"
    assert queue["pending_transactions"] > 0, queue
    by_night = max(stored for begin, until, _, stored in samples if until < 29)
    assert by_night >= by_day[-1][0], "the night was too short for the day"
    assert engine.post("", "/v1/forward").status_code == 202
    reconcile(engine, pump, time.monotonic() - started)
