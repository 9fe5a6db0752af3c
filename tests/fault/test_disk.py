"""The disk of the queue is full, bounded, read-only or failing, and descriptors run out.

Then writes get 503 with Retry-After and /readyz says so; what was acknowledged stays, and what
was refused is not there. When the cause is gone the engine takes writes again by itself.
"""

import contextlib
import json

import pytest
from fault.disks import limit_descriptors, set_immutable
from fault.load import Load, reconcile
from fault.told import (
    LEDGER_DOWN,
    LEDGER_UP,
    REFUSED,
    TAKEN,
    times,
    wait_until_down,
    wait_until_up,
)
from support import ports
from support.engine import a_transaction
from support.paths import BINARY
from support.refusing import TABOO, Refusing
from support.wire import Wire, head

MIB = 1024 * 1024
QUICK = {
    "FORWARD_BATCH_AGE": "20ms",
    "FORWARD_RETRY_MIN": "10ms",
    "FORWARD_RETRY_MAX": "200ms",
    "SEGMENT_BYTES": "16MiB",
}
LARGE = [{"key": f"key.{n}", "value": "x" * 8000} for n in range(100)]


def write_until_refused(engine, limit=400):
    """Large transactions until one gets 503; gives the number that were acknowledged."""
    for count in range(limit):
        answer = engine.post(a_transaction(data=LARGE))
        if answer.status_code != 200:
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["detail"]
            return count
    raise AssertionError(f"{limit} transactions were taken")


def ready(engine):
    answer = engine.get("/readyz", token=None)
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status_code


def taken_or_refused(engine):
    metrics = engine.metrics()
    return (
        metrics['labs_analytics_transactions_received_total{result="accepted"}']
        + metrics["labs_analytics_http_bodies_refused_total"]
    )


def is_refused(engine):
    """It stays so for a few of the engine's attempts to heal."""
    refused = "labs_analytics_requests_refused_total"
    before = engine.metrics()[refused]
    engine.wait_until(lambda: ready(engine) == 503, 30)
    while engine.metrics()[refused] < before + 20:
        assert engine.post(a_transaction()).status_code == 503
        assert ready(engine) == 503


def wait_until_taken(engine):
    engine.wait_until(lambda: ready(engine) == 200, 30, "/readyz")
    return engine.accept()


def one_refusal(engine):
    assert (times(engine, REFUSED), times(engine, TAKEN)) == (1, 1), engine.log


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk(disk, engines, postgres, proxy, kind):
    small = disk(kind, 80)
    proxy.down()
    engine = engines(
        DATABASE_URL=postgres.url(port=proxy.port), DATA_DIR=small.folder / "data", **QUICK
    )
    small.take(20)
    accepted = write_until_refused(engine)
    assert accepted > 0
    small.fill()
    is_refused(engine)
    assert engine.counts()["uncompleted"] == accepted
    small.make_room()
    wait_until_taken(engine)
    one_refusal(engine)
    proxy.up()
    assert engine.wait_until_stored()["successful"] == accepted + 1
    assert sorted(engine.stored_ids().values()) == [2] + [100] * accepted


def test_a_full_disk_under_load(disk, engines, postgres):
    """Small transactions all the time, with the store up and the disk filled and freed."""
    small = disk("ext4", 100)
    engine = engines(DATABASE_URL=postgres.url(), DATA_DIR=small.folder / "data", **QUICK)
    with Load(engine) as load:
        for _ in range(2):
            load.wait_for(50)
            small.fill()
            for _ in range(30):
                engine.post(a_transaction(data=LARGE, pennkey="large"))
            small.make_room()
            engine.wait_until(lambda: ready(engine) == 200, 30, "/readyz")
        load.wait_for(50)
    engine.wait_until_stored()
    load.check(lambda sql: [r for r in postgres.ask(sql) if r["pennkey"] != "large"])


def test_a_full_disk_with_the_embedded_store(disk, engines):
    """Queue, ledger and events.db share the disk."""
    small = disk("ext4", 100)
    engine = engines(DATA_DIR=small.folder / "data", **QUICK)
    wait_until_up(engine)
    small.fill()
    accepted = write_until_refused(engine)
    engine.stop()
    engine.start()
    small.make_room()
    wait_until_taken(engine)
    assert engine.wait_until_stored()["successful"] == accepted + 1
    found = engine.data_dir
    engine.options["DATABASE_URL"] = f"sqlite:{engine.options['DATA_DIR']}/events.db"
    assert sorted(engine.stored_ids().values()) == [2] + [100] * accepted, found


def test_a_start_on_a_disk_without_a_byte_left(disk, engines):
    """It says what is the matter, and what was accepted is there once there is room."""
    small = disk("ext4", 100)
    engine = engines(DATA_DIR=small.folder / "data", **QUICK)
    engine.accept()
    engine.stop()
    small.fill_up()
    engine.launch()
    assert engine.wait_for_exit() == 1
    assert "ledger.db" in engine.log and "disk is full" in engine.log
    small.make_room()
    engine.start()
    assert engine.wait_until_stored()["successful"] == 1


def test_a_full_disk_and_a_store_that_is_asked_anew(disk, engines, postgres, proxy):
    """What the queue has filled only forwarding frees: it goes on where the ledger cannot note how
    far the store is."""
    small = disk("ext4", 60)
    data = small.folder / "data"
    proxy.down()
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), DATA_DIR=data, **QUICK)
    accepted = [engine.accept() for _ in range(3)]
    engine.wait_until(lambda: {path.suffix for path in (data / "queue").iterdir()} == {".seg", ""})
    small.fill_up()
    proxy.up()
    engine.wait_until(lambda: engine.counts()["successful"] == len(accepted))
    engine.wait_for_log(LEDGER_DOWN)
    proxy.down()
    accepted.append(engine.accept())
    wait_until_down(engine)
    proxy.up()
    engine.wait_until(lambda: engine.counts()["successful"] == len(accepted))
    assert times(engine, LEDGER_DOWN) == 1
    small.make_room()
    accepted.append(engine.accept())
    engine.wait_for_log(LEDGER_UP)
    engine.restart()
    assert engine.wait_until_stored()["successful"] == len(accepted)
    assert set(engine.stored_ids()) == set(accepted)


def test_a_full_disk_and_one_that_is_to_be_tried_again(disk, engines, postgres, proxy):
    """The store takes it, the ledger cannot note that: nothing else waits for it."""
    small = disk("ext4", 60)
    data = small.folder / "data"
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), DATA_DIR=data, **QUICK)
    wait_until_up(engine)
    Refusing(postgres.url()).refuse()
    refused = engine.accept(data=[{"key": TABOO, "value": 1}, {"key": "fine", "value": 2}])
    engine.wait_until(lambda: engine.counts()["failed"] == 1)
    proxy.down()
    accepted = [engine.accept()]
    wait_until_down(engine)
    Refusing(postgres.url()).allow()
    engine.command("transactions", "retry", refused)
    engine.wait_until(lambda: {path.suffix for path in (data / "queue").iterdir()} == {".seg", ""})
    small.fill_up()
    proxy.up()
    engine.wait_until(lambda: set(engine.stored_ids()) == {refused, *accepted})
    assert times(engine, LEDGER_DOWN) == 1
    small.make_room()
    accepted.append(engine.accept())
    engine.wait_for_log(LEDGER_UP)
    assert engine.wait_until_stored()["successful"] == 3
    assert engine.stored_ids() == dict.fromkeys([refused, *accepted], 2)


def test_the_disk_of_the_ledger_is_full_and_that_of_the_queue_is_not(
    disk, engines, postgres, tmp_path
):
    """Nobody who writes notices, and all of it is stored once, then or later."""
    data = tmp_path / "split"
    small = disk("tmpfs", 4, at=data)
    disk("tmpfs", 200, at=data / "queue")
    engine = engines(DATABASE_URL=postgres.url(), DATA_DIR=data, **QUICK)
    wait_until_up(engine)
    with Load(engine) as load:
        load.wait_for(50)
        small.fill()
        engine.wait_for_log(LEDGER_DOWN)
        load.wait_for(100)
        assert ready(engine) == 200
        small.make_room()
        engine.wait_for_log(LEDGER_UP)
        load.wait_for(50)
    reconcile(engine, load, postgres.ask)
    assert (times(engine, LEDGER_DOWN), times(engine, LEDGER_UP)) == (1, 1), engine.log
    assert times(engine, REFUSED) == 0, engine.log


def test_the_disk_of_the_queue_is_full_and_that_of_the_ledger_is_not(
    disk, engines, postgres, proxy, tmp_path
):
    """What it holds is forwarded, which makes the room for more."""
    data = tmp_path / "split"
    small = disk("tmpfs", 60, at=data / "queue")
    proxy.down()
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), DATA_DIR=data, **QUICK)
    small.take(8)
    accepted = write_until_refused(engine)
    assert accepted > 0
    small.filler.unlink()
    small.fill()
    is_refused(engine)
    assert engine.counts()["uncompleted"] == accepted
    proxy.up()
    engine.wait_until_stored()
    wait_until_taken(engine)
    one_refusal(engine)
    assert times(engine, LEDGER_DOWN) == 0, engine.log
    assert engine.wait_until_stored()["successful"] == accepted + 1
    assert sorted(engine.stored_ids().values()) == [2] + [100] * accepted


def test_syncs_of_the_queue_fail(shim, engines, postgres):
    """What a failed sync was for is answered with 503 and is not there; nothing else is lost."""
    engine = engines(DATABASE_URL=postgres.url(), **QUICK, **shim.options())
    wait_until_up(engine)
    with Load(engine) as load:
        load.wait_for(50)
        shim.fail_syncs_of("/queue/")
        is_refused(engine)
        shim.heal()
        engine.wait_until(lambda: ready(engine) == 200, 30, "/readyz")
        load.wait_for(50)
    reconcile(engine, load, postgres.ask)
    one_refusal(engine)
    engine.restart()
    reconcile(engine, load, postgres.ask)


def test_what_waits_for_a_disk_that_stands_still_is_bounded(shim, engines):
    """One is accepted, so the answer waits; it will be long for those that are rejected."""
    engine = engines(BODY_MEMORY="16MiB", MAX_BODY_BYTES="1MiB", **shim.options())
    engine.accept()
    body = json.dumps(a_transaction()) + "\n1" * 8000
    fields = ["Content-Type: application/x-ndjson"]
    request = head("POST", "/v1/transactions", *fields, token=engine.token(), length=len(body))
    shim.hang_syncs_of("/queue/")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(engine.address)) for _ in range(60)]
        for wire in wires:
            wire.send(request + body)
        engine.wait_until(lambda: taken_or_refused(engine) == 1 + 60, what="all to be read")
        assert 8 * MIB < engine.metrics()["labs_analytics_http_body_bytes"] <= 16 * MIB
        shim.heal()
        answers = [wire.answer() for wire in wires]
    refused = [answer for answer in answers if answer.status != 202]
    assert 30 < len(refused) < 60
    assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(503, "2")}
    assert "memory" in refused[0].detail
    assert engine.metrics()["labs_analytics_http_body_bytes"] == 0
    assert engine.wait_until_stored()["successful"] == 1 + 60 - len(refused)


def test_a_data_directory_that_is_made_is_synced_in_the_folder_above(shim, engines, tmp_path):
    """Else all that is acknowledged in it may be gone with its name."""
    above = tmp_path / "above"
    above.mkdir()
    engine = engines(start=False, DATA_DIR=above / "data", **shim.options())
    engine.own_key = True
    shim.fail_syncs_of("above")
    engine.launch()
    assert engine.wait_for_exit() == 1
    assert f"sync {above}: Input/output error" in engine.log
    shim.heal()


def test_syncs_of_the_ledger_fail(shim, engines, postgres):
    """It is written anew once they succeed; nobody who writes notices."""
    engine = engines(DATABASE_URL=postgres.url(), **QUICK, **shim.options())
    wait_until_up(engine)
    with Load(engine) as load:
        load.wait_for(50)
        shim.fail_syncs_of("/ledger.db")
        engine.wait_for_log(LEDGER_DOWN)
        load.wait_for(100)
        assert ready(engine) == 200
        shim.heal()
        engine.wait_for_log(LEDGER_UP)
        load.wait_for(50)
    reconcile(engine, load, postgres.ask)
    assert (times(engine, LEDGER_DOWN), times(engine, LEDGER_UP)) == (1, 1), engine.log
    engine.restart()
    reconcile(engine, load, postgres.ask)


def test_the_bound_of_the_queue(engines, postgres, proxy):
    proxy.down()
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), QUEUE_MAX_BYTES="64MiB", **QUICK)
    accepted = write_until_refused(engine)
    is_refused(engine)
    status = engine.status()
    assert status["queue"]["bytes_on_disk"] <= 64 << 20
    assert "bound" in status["refusing"]
    assert accepted > 40  # 64 MiB less what is kept for the next segment
    proxy.up()
    wait_until_taken(engine)
    assert engine.wait_until_stored()["successful"] == accepted + 1
    assert sorted(engine.stored_ids().values()) == [2] + [100] * accepted
    one_refusal(engine)
    assert write_until_refused_or(engine, 100) == 100  # the room is there again


def write_until_refused_or(engine, count):
    taken = 0
    while taken < count:
        answer = engine.post(a_transaction(data=LARGE))
        if answer.status_code == 200:
            taken += 1
        else:
            engine.wait_until(lambda: ready(engine) == 200, 30, "/readyz")
    return taken


def test_a_disk_that_fails_under_load(disk, engines, postgres):
    """The file system finds a fault and turns read-only under the engine. No such write is
    acknowledged; the disk is repaired, and all that had been is there. The bytes of the write that
    failed may have reached the disk, and the engine cannot cut them off there any more."""
    small = disk("ext4", 100)
    listen = f"127.0.0.1:{ports.take()}"
    engine = engines(
        listen=listen, DATABASE_URL=postgres.url(), DATA_DIR=small.folder / "data", **QUICK
    )
    with Load(engine) as load:
        load.wait_for(300)
        small.fail()
        engine.wait_until(lambda: ready(engine) == 503, 30, "/readyz")
        is_refused(engine)
        assert times(engine, REFUSED) == 1 and times(engine, TAKEN) == 0, engine.log
        engine.kill9()
        small.repair()
        engine.start()
        load.wait_for(100)
    reconcile(engine, load, postgres.ask, refused_too=True)


def test_a_folder_that_may_not_be_changed(engines, postgres, proxy):
    """The current segment can be filled, but no other can be begun."""
    proxy.down()
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), **QUICK)
    engine.accept()
    folder = engine.data_dir / "queue"
    if not set_immutable(folder, True):
        pytest.skip("folders cannot be made immutable here")
    try:
        accepted = write_until_refused(engine)
        is_refused(engine)
        engine.wait_for_log("cannot prepare a segment now")
    finally:
        set_immutable(folder, False)
    wait_until_taken(engine)
    one_refusal(engine)
    engine.wait_for_log("segments can be prepared again")
    proxy.up()
    assert engine.wait_until_stored()["successful"] == accepted + 2


def test_out_of_descriptors(engines, postgres, proxy):
    """None for another connection, another segment or the database; then there are again."""
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), WORKERS=2, **QUICK)
    wait_until_up(engine)
    engine.accept()  # this connection stays
    engine.wait_until_stored()
    proxy.down()
    pid = engine.process.pid
    old = limit_descriptors(pid, 8)
    accepted = write_until_refused(engine)
    lines = len(engine.log.splitlines())
    is_refused(engine)
    limit_descriptors(pid, old)
    wait_until_taken(engine)
    assert len(engine.log.splitlines()) <= lines + 20, engine.log
    proxy.up()
    assert engine.wait_until_stored()["successful"] == accepted + 2
    one_refusal(engine)


def test_connections_leave_descriptors_for_the_disk(engines, postgres, tmp_path, monkeypatch):
    """More clients than descriptors, and a limit that cannot be lifted: some clients wait, but
    those who are served can write, and segments can be begun."""
    program = tmp_path / "few-descriptors"
    program.write_text(f'#!/bin/sh\nulimit -n 64\nexec {BINARY} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr("support.engine.BINARY", program)
    engine = engines(DATABASE_URL=postgres.url(), WORKERS=1, **QUICK)
    assert "connections at a time instead of 10000: the limit of open files is 64" in engine.log
    with Load(engine, clients=50) as load:
        load.wait_for(50)
        for _ in range(30):
            engine.post(a_transaction(data=LARGE, pennkey="large"))
        load.wait_for(100)
    engine.wait_until_stored()
    load.check(lambda sql: [r for r in postgres.ask(sql) if r["pennkey"] != "large"])
    assert times(engine, REFUSED) == 0, engine.log
