"""A start, a load and a stop under valgrind: no leak, no invalid read or write."""

import shutil
from pathlib import Path

import pytest
from fault.load import Load, reconcile
from support.instrumented import SANITIZED
from support.wait import wait_until

needs_valgrind = pytest.mark.skipif(
    SANITIZED or not shutil.which("valgrind"), reason="valgrind is missing, or a sanitizer is there"
)


@needs_valgrind
@pytest.mark.timeout(1800)
def test_no_leak(engines, store_url, scale):
    engine = engines(DATABASE_URL=store_url, valgrind=True, WORKERS=2)
    assert "valgrind" in Path(f"/proc/{engine.process.pid}/cmdline").read_text()
    with Load(engine, clients=2) as load:
        load.wait_for(int(200 * scale), timeout=300)
    reconcile(engine, load, engine.query)
    for path in ["/metrics", "/livez", "/readyz", "/v1/status", "/v1/deliveries", "/nowhere"]:
        engine.get(path)
    one = next(one.identity for one in load.sent.values() if one.identity)
    assert engine.transaction(one)["status"] == "successful"
    assert engine.post("{", "/analytics").status_code == 400
    assert engine.post([{}, 1], "/v1/transactions").json()["rejected"] == 2
    assert engine.get("/v1/status", token=None).status_code == 401
    engine.stop(timeout=60)  # finish() fails for what valgrind has found


@needs_valgrind
@pytest.mark.timeout(1800)
def test_no_leak_while_the_store_comes_and_goes(engines, postgres, proxy):
    engine = engines(
        DATABASE_URL=postgres.url(port=proxy.port), valgrind=True, FORWARD_RETRY_MAX="200ms"
    )
    with Load(engine, clients=2) as load:
        for _ in range(3):
            load.wait_for(20, timeout=120)
            proxy.down()
            load.wait_for(20, timeout=120)
            proxy.up()
    reconcile(engine, load, postgres.ask)
    proxy.down()
    with Load(engine, clients=1) as load:
        load.wait_for(5)
    wait_until(lambda: engine.status()["store"]["state"] == "down")
    engine.stop(timeout=60)
