"""Memory while a backlog grows: the queue is on disk, so the process stays small.

The short form queues 500,000 datapoints, `make stress` (LABS_SCALE=10) 5 million, and once 100
million, which take 5 GiB of disk. Figures are printed (pytest -s) and kept in the report of each
test.
"""

import itertools
import json
import re
import threading
from pathlib import Path

import pytest
import requests
from support import ports
from support.instrumented import plain_only

pytestmark = [pytest.mark.timeout(1800), plain_only]  # of the long form

LIMIT = 64 << 20
DATAPOINTS, FORWARDED = 500_000, 200_000
MOST = 100_000_000  # in the long form
BATCH, EACH = 1000, 10


def memory(engine):
    """{"VmRSS": bytes, "VmHWM": bytes}"""
    status = Path(f"/proc/{engine.process.pid}/status").read_text()
    return {name: int(kib) << 10 for name, kib in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status)}


def bodies(ndjson):
    """A few bodies to be sent again and again; each datapoint is about 40 bytes of JSON."""
    for number in range(4):
        batch = [
            {
                "product": "CLUBS",
                "pennkey": f"user{n % 100}",
                "timestamp": 1790000000 + n,
                "data": [
                    {"key": f"club.visit.{k}", "value": f"value {number} {n} {k}"}
                    for k in range(EACH)
                ],
            }
            for n in range(BATCH)
        ]
        if ndjson:
            yield "\n".join(json.dumps(one) for one in batch).encode()
        else:
            yield json.dumps(batch).encode()


def fill(engine, datapoints, ndjson, clients=4):
    """Sends so many datapoints from several connections; gives the transactions sent."""
    count = datapoints // (BATCH * EACH)
    sent = count * BATCH
    bodies_left = itertools.islice(itertools.cycle(list(bodies(ndjson))), count)
    headers = {
        "Authorization": f"Bearer {engine.token()}",
        "Content-Type": "application/x-ndjson" if ndjson else "application/json",
    }
    faults = []

    def client():
        with requests.Session() as session:
            session.trust_env = False
            while not faults and (body := next(bodies_left, None)):
                answer = session.post(
                    f"{engine.url}/v1/transactions", data=body, headers=headers, timeout=120
                )
                if answer.status_code != 202 or answer.json()["accepted"] != BATCH:
                    faults.append(answer.text)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    return sent


@pytest.mark.parametrize("shape", ["array", "ndjson"])
def test_a_backlog_takes_no_memory(engines, scale, shape, record_property):
    """The store is down: the forwarder holds two batches and waits."""
    nowhere = f"postgres://labs:x@127.0.0.1:{ports.take()}/nowhere"
    datapoints = MOST if shape == "ndjson" and scale >= 10 else int(DATAPOINTS * scale)
    engine = engines(DATABASE_URL=nowhere, WORKERS=2, FORWARD_RETRY_MAX="200ms")
    figures = {"idle": memory(engine)["VmRSS"]}
    sent = fill(engine, datapoints, shape == "ndjson")
    assert engine.counts()["uncompleted"] == sent
    assert engine.status()["store"]["state"] == "down"
    figures |= memory(engine)
    engine.kill9()
    engine.start()  # recovery reads all of it
    assert engine.counts()["uncompleted"] == sent
    recovered = memory(engine)
    figures |= {f"{name} after recovery": value for name, value in recovered.items()}
    told = ", ".join(f"{name} {value / (1 << 20):.1f} MiB" for name, value in figures.items())
    record_property("memory", told)
    print(f"\n{sent * EACH} datapoints queued ({shape}): {told}")
    assert all(value < LIMIT for value in figures.values()), told


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_backlog_is_forwarded_in_little_memory(engines, request, scale, kind, record_property):
    """The store comes up in front of a backlog: it is written batch by batch."""
    options = {"FORWARD_RETRY_MAX": "200ms", "WORKERS": 2}
    if kind == "postgres":
        postgres = request.getfixturevalue("postgres")
        proxy = request.getfixturevalue("proxy")
        proxy.down()
        engine = engines(DATABASE_URL=postgres.url(port=proxy.port), **options)
    else:
        engine = engines(**options)
    sent = fill(engine, int(FORWARDED * scale), ndjson=True)
    if kind == "postgres":
        proxy.up()
    engine.wait_until_stored(timeout=60 * max(1, scale))
    figures = memory(engine)
    told = ", ".join(f"{name} {value / (1 << 20):.1f} MiB" for name, value in figures.items())
    record_property("memory", told)
    print(f"\n{sent * EACH} datapoints forwarded to {kind}: {told}")
    assert engine.query("SELECT count(*) AS n FROM event")[0]["n"] == sent * EACH
    assert engine.counts()["successful"] == sent
    assert figures["VmHWM"] < LIMIT, told
