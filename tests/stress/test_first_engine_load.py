"""The load test of the first engine: 1,000 requests of 10 datapoints from 16 threads."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from support.engine import a_transaction
from support.wire import Wire, head

REQUESTS, THREADS, LIMIT_S, STORED_S = 1000, 16, 3.0, 2.0


def test_a_thousand_requests_are_acknowledged_within_the_limit(engines, postgres):
    engine = engines(DATABASE_URL=postgres.url())
    body = json.dumps(a_transaction(datapoints=10))
    request = head("POST", "/analytics", token=engine.token(), length=len(body)) + body

    def send(share):
        ids = []
        with Wire(engine.address) as wire:
            for _ in range(share):
                wire.send(request)
                answer = wire.answer()
                assert answer.status == 200, answer
                ids.append(json.loads(answer.body)["id"])
        return ids

    shares = [REQUESTS // THREADS + (n < REQUESTS % THREADS) for n in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        started = time.monotonic()
        ids = [one for part in pool.map(send, shares) for one in part]
        took = time.monotonic() - started
    assert took < LIMIT_S * engine.patience
    assert len(set(ids)) == REQUESTS
    engine.wait_until_stored(timeout=STORED_S * engine.patience)
    assert engine.stored_ids() == dict.fromkeys(ids, 10)
    print(f"{REQUESTS} requests acknowledged in {took:.2f} s")
