"""The engine is killed at random moments under load; what it acknowledged is stored, once."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from fault.load import Load, Watch, reconcile
from support import ports

QUICK = {"FORWARD_BATCH_AGE": "20ms", "FORWARD_RETRY_MIN": "10ms", "FORWARD_RETRY_MAX": "200ms"}
KILLS = 20


def test_killed_at_random_moments(engines, store_url, scale):
    listen = f"127.0.0.1:{ports.take()}"
    engine = engines(listen=listen, DATABASE_URL=store_url, WORKERS=2, **QUICK)
    with Watch(engine.query), Load(engine) as load:
        for _ in range(int(KILLS * scale)):
            if random.random() < 0.2:  # also while it starts and recovers
                engine.kill9()
                engine.launch()
                time.sleep(random.uniform(0, 0.1))
            else:
                load.wait_for(1)
                time.sleep(random.uniform(0, 0.3))
            engine.kill9()
            before = load.acknowledged
            engine.start()
            assert engine.counts()["accepted"] >= before
        load.wait_for(100)
    reconcile(engine, load, engine.query)
    engine.stop()
    engine.start()
    reconcile(engine, load, engine.query)


def test_killed_together_with_the_database(engines, postgres, scale):
    listen = f"127.0.0.1:{ports.take()}"
    engine = engines(listen=listen, DATABASE_URL=postgres.url(), **QUICK)
    with Load(engine) as load:
        for _ in range(int(3 * scale)):
            load.wait_for(200)
            postgres.kill()
            engine.kill9()
            engine.start()
            load.wait_for(20)
            postgres.start()
    reconcile(engine, load, postgres.ask)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_under_load(engines, store_url, number):
    listen = f"127.0.0.1:{ports.take()}"
    engine = engines(listen=listen, DATABASE_URL=store_url, **QUICK)
    with Watch(engine.query), Load(engine) as load:
        for _ in range(3):
            load.wait_for(200)
            engine.signal(number)
            assert engine.wait_for_exit(40) == 0, engine.log[-2000:]
            engine.start()
        load.wait_for(50)
    reconcile(engine, load, engine.query)


def test_stopped_while_the_store_is_down(engines, postgres, proxy):
    listen = f"127.0.0.1:{ports.take()}"
    url = postgres.url(port=proxy.port)
    proxy.down()
    engine = engines(listen=listen, DATABASE_URL=url, **QUICK)
    with Load(engine) as load:
        for _ in range(3):
            load.wait_for(300)
            engine.stop()
            engine.start()
            acknowledged = load.acknowledged  # before the counts: the load goes on
            assert engine.counts()["uncompleted"] >= acknowledged
    assert engine.status()["store"]["state"] == "down"
    engine.stop()
    proxy.up()
    engine.start()
    reconcile(engine, load, postgres.ask)


def segments(engine):
    return {path.name: path.read_bytes() for path in engine.data_dir.glob("queue/*.seg")}


def has_open(engine, part):
    """Whether the engine's process has a file open with this in its path."""
    found = Path(f"/proc/{engine.process.pid}/fd").iterdir()
    return any(part in os.readlink(one) for one in found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_it_reads_its_queue(shim, engines, number):
    """It does not read to the end first, and leaves the queue as it is for the next start."""
    engine = engines(DATABASE_URL="postgres://nobody@127.0.0.1:1/none", **shim.options())
    ids = [engine.accept()]
    engine.kill9()
    engine.start()  # goes on in another file of the queue
    ids.append(engine.accept())
    engine.kill9()
    before = segments(engine)
    assert len(before) == 2
    shim.hang_reads_of("/queue/0")
    engine.launch()
    engine.wait_until(lambda: has_open(engine, "/queue/0"), 30, "it to read its queue")
    engine.signal(signal.SIGHUP)
    engine.signal(number)
    shim.heal()
    assert engine.wait_for_exit() == 0
    assert "transactions in" not in engine.log
    assert engine.log.splitlines()[-1].endswith("info    app: stopped")
    assert segments(engine) == before
    engine.start()
    assert engine.counts() == engine.counts() | {"accepted": 2, "uncompleted": 2}
    assert [engine.transaction(one)["status"] for one in ids] == ["uncompleted"] * 2
