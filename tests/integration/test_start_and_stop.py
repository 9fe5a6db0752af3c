"""The engine's life: what it makes, what it locks, and how it ends."""

import json
import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support.engine import a_transaction
from support.paths import BINARY
from support.wire import Wire, head

BODY = json.dumps(a_transaction())


def test_the_data_directory_is_made_for_its_owner_only(engines):
    engine = engines(start=False, own_key=True)
    engine.data_dir = engine.folder / "deep" / "er" / "data"
    engine.start()
    engine.accept()
    engine.wait_until_stored()
    assert stat.S_IMODE(engine.data_dir.stat().st_mode) == 0o700
    for path in engine.data_dir.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_defaults_lie_below_the_working_directory(engines):
    engine = engines(start=False)
    environment = engine.environment
    del environment["DATA_DIR"]
    done = subprocess.run(
        [BINARY, "token"], cwd=engine.folder, env=environment, capture_output=True, check=True
    )
    assert done.stdout
    assert (engine.folder / "data" / "development-key.pem").exists()


def test_a_data_directory_that_cannot_be_made_is_told(engines):
    engine = engines(start=False)
    (engine.folder / "file").write_text("")
    done = engine.command("serve", check=False, DATA_DIR=engine.folder / "file" / "data")
    assert done.returncode == 1
    assert str(engine.folder / "file") in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_second_engine_on_the_same_directory_is_refused(engine):
    done = engine.command("serve", check=False, LISTEN="127.0.0.1:0")
    assert done.returncode == 1
    assert done.stderr == (
        f"labs-analytics: another engine works on {engine.data_dir} ({engine.address})\n"
    )
    assert engine.accept()


def test_an_address_that_another_one_has_is_told_and_nothing_else(engine, engines):
    other = engines(start=False)
    other.listen = engine.address
    other.launch()
    assert other.wait_for_exit() == 1
    assert f"listen on {engine.address}: Address already in use" in other.log
    assert "warning" not in other.log


def test_a_killed_engine_leaves_no_lock(engine):
    engine.kill9()
    engine.start()
    assert engine.accept()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(engine, number):
    identity = engine.accept()
    engine.signal(number)
    assert engine.wait_for_exit() == 0
    assert "stopped" in engine.log
    assert engine.stored_ids() == {identity: 2}  # forwarded on the way out


def test_a_hangup_is_survived(engine):
    engine.signal(signal.SIGHUP)
    assert engine.accept()
    engine.signal(signal.SIGHUP)
    assert engine.get("/livez").status_code == 200


def processor_seconds(engine):
    fields = Path(f"/proc/{engine.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("url", [None, "postgres://nobody@127.0.0.1:1/none"], ids=["up", "down"])
def test_an_engine_with_nothing_to_do_leaves_the_processor_alone(engines, url):
    """A thread that turns instead of waiting would take most of one."""
    engine = engines(**({"DATABASE_URL": url} if url else {}))
    engine.accept()
    if url is None:
        engine.wait_until_stored()
    engine.command("users", "forget", "nobody")
    used, since = processor_seconds(engine), time.monotonic()
    engine.wait_until(lambda: time.monotonic() > since + 1)
    assert processor_seconds(engine) - used < 0.3 * (time.monotonic() - since)


def test_requests_in_flight_are_finished(engine):
    with Wire(engine.address) as wire, Wire(engine.address) as idle:
        idle.send(head("GET", "/livez"))
        assert idle.answer().status == 200
        expect = "Expect: 100-continue"
        wire.send(head("POST", "/analytics", expect, token=engine.token(), length=len(BODY)))
        assert wire.answer().status == 100  # from now on the request is in flight
        wire.send(BODY[:20])
        engine.signal(signal.SIGTERM)
        assert idle.is_closed()
        wire.send(BODY[20:])
        answer = wire.answer()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()
    assert engine.wait_for_exit() == 0
    assert engine.stored_ids() == {json.loads(answer.body)["id"]: 2}


def test_what_was_acknowledged_while_it_stops_is_kept(engine):
    token, ids, go = engine.token(), [], threading.Event()

    def write():
        try:
            while True:
                answer = engine.post(a_transaction(datapoints=1), token=token)
                if answer.status_code != 200:
                    return
                ids.append(answer.json()["id"])
                if len(ids) > 50:
                    go.set()
        except OSError:
            pass  # it has stopped

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    assert go.wait(30)
    engine.stop()
    for writer in writers:
        writer.join()
    engine.start()
    engine.wait_until_stored()
    stored = engine.stored_ids()
    assert set(ids) <= set(stored)
    assert set(stored.values()) == {1}


def test_a_stop_with_the_store_down_keeps_what_waits_and_waits_for_nothing(engines, postgres):
    postgres.stop()
    pauses = dict.fromkeys(["FORWARD_RETRY_MIN", "FORWARD_RETRY_MAX", "SHUTDOWN_TIMEOUT"], "1h")
    engine = engines(DATABASE_URL=postgres.url(), **pauses)
    identity = engine.accept()
    engine.wait_for_log("the store is down")
    engine.stop()
    postgres.start()
    engine.start()
    engine.wait_until_stored()
    assert engine.stored_ids() == {identity: 2}


def test_the_end_does_not_wait_for_a_store_that_does_not_answer(engines, postgres, proxy):
    url = postgres.url(port=proxy.port)
    engine = engines(DATABASE_URL=url, STORE_TIMEOUT="1h", SHUTDOWN_TIMEOUT="200ms")
    ids = {engine.accept()}
    engine.wait_until_stored()
    proxy.stall()
    ids.add(engine.accept())
    engine.stop()
    proxy.resume()
    engine.start()
    engine.wait_until_stored()
    assert engine.stored_ids().keys() == ids


def test_a_client_that_never_finishes_does_not_hold_up_the_end(engines):
    engine = engines(BODY_TIMEOUT="500ms", HEADER_TIMEOUT="500ms")
    begun = head("POST", "/analytics", token=engine.token(), length=100) + "{"
    with Wire(engine.address) as body, Wire(engine.address) as fields:
        body.send(begun)
        fields.send("GET /livez HTTP/1.1\r\n")
        taken = "labs_analytics_http_connections_total"
        engine.wait_until(lambda: engine.metrics()[taken] >= 3)
        engine.stop(timeout=20)


def test_restarts_keep_everything(engine):
    ids = []
    for turn in range(5):
        ids += [engine.accept() for _ in range(3)]
        engine.restart() if turn % 2 else (engine.kill9(), engine.start())
    engine.wait_until_stored()
    assert engine.stored_ids() == dict.fromkeys(ids, 2)
    assert ids == sorted(ids)


def test_a_transaction_whose_product_was_taken_away_is_not_lost(engines, postgres):
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url(), PRODUCTS="77=GONE", SHUTDOWN_TIMEOUT="0s")
    gone, kept = engine.accept(product=77), engine.accept(product=1)
    engine.stop()
    del engine.options["PRODUCTS"]
    postgres.start()
    engine.start()
    counts = engine.wait_until_stored()
    assert counts["accepted"] == 2
    assert kept in engine.stored_ids()
    assert engine.transaction(gone)["status"] in ("successful", "failed")


def test_an_unwritable_queue_stops_the_start_in_words(engines):
    engine = engines(start=False)
    engine.data_dir.mkdir()
    (engine.data_dir / "node").write_text("not a node name\n")
    done = engine.command("serve", check=False, LISTEN="127.0.0.1:0")
    assert done.returncode == 1
    assert f"{engine.data_dir}/node holds no node name" in done.stderr


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-", ">&- 2>&-"])
def test_it_needs_no_standard_streams(engines, closed):
    """Nor does what it would say go into a file that has got the place of one."""
    engine = engines(start=False)
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$0" serve --listen 127.0.0.1:0 {closed}', BINARY],
        cwd=engine.folder,
        env=engine.environment,
    )
    try:
        lock = engine.data_dir / "lock"
        engine.wait_until(lambda: lock.read_text().strip())
        engine.address = lock.read_text().strip()
        identity = engine.accept()
        assert len(engine.events_of(identity)) == 2
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    assert lock.read_text() == f"{engine.address}\n"
