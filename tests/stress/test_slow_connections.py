"""Thousands of connections that send a byte a second, beside honest ones.

What is held against each other is measured in turns on one engine: honest clients alone, and the
same beside the slow ones. Figures are printed (pytest -s).
"""

import statistics

import pytest
from lib import corpus
from lib.load import Load
from support import ports
from support.drip import Drip
from support.engine import a_transaction
from support.instrumented import plain_only

pytestmark = [pytest.mark.timeout(900), plain_only]

SLOW, HONEST = 5000, 64
SECONDS, TURNS, MOST_TURNS = 2, 3, 15
LEAST = 0.9  # of what honest clients get without the slow ones


def test_slow_connections_take_no_more_than_a_tenth_from_honest_ones(engines, tmp_path):
    engine = engines(
        DATABASE_URL=f"postgres://labs:labs@127.0.0.1:{ports.take()}/none",
        SHUTDOWN_TIMEOUT=0,
        HEADER_TIMEOUT="10m",  # all of them stay for as long as it is measured
        BODY_TIMEOUT="10m",
    )
    bodies = corpus.write(corpus.transactions(2000), tmp_path / "bodies")
    load = Load(engine.url, "/analytics", engine.token(), bodies, HONEST)
    alone, beside = [], []

    def measure(figures):
        result = load.run(SECONDS)
        figures.append(result["requests"] / result["seconds"])

    def measure_beside():
        with Drip(engine.address, SLOW, engine.token()) as drip:
            measure(beside)
            open_now = engine.metrics()["labs_analytics_http_connections"]
        assert open_now >= SLOW
        assert drip.told["cut"] == 0
        assert drip.told["sent"] > 0.9 * SLOW * drip.told["seconds"]
        engine.wait_until(lambda: engine.metrics()["labs_analytics_http_connections"] < HONEST)
        return drip.told["cpu_share"]

    def ratio():
        return statistics.median(beside) / statistics.median(alone)

    load.probe()
    load.run(SECONDS)  # warms up
    while len(alone) < TURNS or (ratio() < LEAST and len(alone) < MOST_TURNS):
        if len(alone) % 2 == 0:
            measure(alone)
            share = measure_beside()
        else:
            share = measure_beside()
            measure(alone)
    print(
        f"{statistics.median(alone):,.0f} a second alone, {statistics.median(beside):,.0f} beside "
        f"{SLOW} slow connections ({ratio():.3f}); sending for those took {share:.2f} of a core"
    )
    assert ratio() >= LEAST, (alone, beside)


def test_slow_connections_are_cut_off_and_nobody_else_is(engines):
    engine = engines(HEADER_TIMEOUT="2s", BODY_TIMEOUT="2s")
    with Drip(engine.address, 500, engine.token(), again=True) as drip:
        for _ in range(3):
            before = engine.metrics()["labs_analytics_http_timeouts_total"]
            engine.wait_until(
                lambda before=before: (
                    engine.metrics()["labs_analytics_http_timeouts_total"] >= before + 500
                ),
                what="500 slow clients to be cut",
            )
            assert engine.post(a_transaction()).status_code == 200
    assert drip.told["cut"] >= 500
    engine.wait_until(lambda: engine.metrics()["labs_analytics_http_connections"] == 1)
