"""When the engine forwards: FORWARD_WINDOW, FORWARD_MAX_LAG, and the order to do it now."""

import time

from support.engine import a_transaction


def window(opens_in_hours, closes_in_hours):
    """A window of UTC, in hours from now."""
    hour = time.gmtime().tm_hour
    return f"{(hour + opens_in_hours) % 24:02}:00-{(hour + closes_in_hours) % 24:02}:00"


def far(engines, **options):
    """An engine whose window is hours away."""
    return engines(FORWARD_WINDOW=window(6, 8), TZ="UTC", **options)


def waits(engine):
    return engine.wait_until(
        lambda: (store := engine.status()["store"])["state"] == "waiting" and store, what="waiting"
    )


def test_outside_the_window_everything_is_taken_and_nothing_stored(engines):
    engine = far(engines)
    store = waits(engine)
    ids = [engine.accept() for _ in range(5)]
    assert engine.status()["transactions"]["uncompleted"] == 5
    assert store["forwarding"] == "outside the window"
    assert store["waiting_until"].endswith(":00:00.000000Z")
    assert engine.metrics()["labs_analytics_store_up"] == 1
    engine.restart(FORWARD_WINDOW=window(-1, 2))
    engine.wait_until_stored()
    assert engine.stored_ids().keys() == set(ids)
    assert engine.status()["store"]["forwarding"] == "inside the window"


def test_stopping_outside_the_window_stores_nothing_and_keeps_everything(engines):
    engine = far(engines, SHUTDOWN_TIMEOUT="60s")
    waits(engine)
    identity = engine.accept()
    engine.stop(timeout=20)
    assert engine.stored_ids() == {}
    engine.restart(FORWARD_WINDOW="always")
    assert engine.events_of(identity)


def test_an_order_forwards_what_is_there_and_no_more(engines):
    engine = far(engines)
    waits(engine)
    first = engine.accept()
    assert engine.command("forward", "--now").stdout == "pending_transactions: 1\n"
    engine.wait_until_stored()
    assert engine.stored_ids().keys() == {first}
    waits(engine)
    engine.accept()
    assert engine.status()["transactions"]["uncompleted"] == 1


def test_who_has_waited_for_the_longest_lag_goes_whatever_the_window(engines):
    engine = far(engines, FORWARD_MAX_LAG="1s")
    identity = engine.accept()
    assert engine.events_of(identity)
    engine.wait_for_log("waiting: outside the window")


def test_a_quiet_engine_forwards(engines):
    engine = engines(FORWARD_WINDOW="quiet")
    engine.post([a_transaction() for _ in range(3)], path="/v1/transactions")
    engine.wait_until_stored()
    assert engine.status()["store"]["forwarding"] == "few requests come in"


def test_a_burst_is_waited_for_until_it_is_over(engines):
    engine = engines(FORWARD_WINDOW="quiet")
    many = [a_transaction(datapoints=1) for _ in range(500)]

    def waits_after_more():
        engine.post(many, path="/v1/transactions")
        return engine.status()["store"]["state"] == "waiting"

    engine.wait_until(waits_after_more, what="a store that waits for a quieter time")
    assert engine.status()["store"]["forwarding"] == "many requests come in"
    engine.command("forward", "--now")
    engine.wait_until_stored()


def test_bad_windows_stop_the_start(engines):
    for bad in ["never", "25:00-26:00", "02:00", "02:00-02:00", ""]:
        engine = engines(start=False, FORWARD_WINDOW=bad)
        done = engine.command("serve", check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "FORWARD_WINDOW" in done.stderr


def test_an_order_takes_an_engine_and_a_right(engines):
    engine = engines(start=False)
    assert engine.command("forward", check=False).returncode == 2
    assert engine.command("forward", "--now", check=False).returncode == 1
    engine.start()
    assert engine.request("POST", "/v1/forward", token=None).status_code == 401
    assert engine.request("GET", "/v1/forward").status_code == 405
