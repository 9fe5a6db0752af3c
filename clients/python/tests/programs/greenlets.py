"""Greenlets record while the client's thread, a greenlet too, waits for the engine."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402

import gevent  # noqa: E402

from labs_analytics import AnalyticsClient  # noqa: E402

client = AnalyticsClient(os.environ["URL"], key="la_test", product=10, batch_age=0.02)


def record(number):
    client.record("greenlet", number)
    gevent.sleep(0)


gevent.joinall([gevent.spawn(record, number) for number in range(100)])
assert threading.active_count() == 2
# The answer comes once somebody has seen these lines: the hub must run meanwhile.
while client.stats().accepted == 0:
    print("tick", flush=True)
    gevent.sleep(0.01)
assert client.flush()
print(f"accepted {client.stats().accepted}", flush=True)
client.record("at the end", 1)
sys.exit(0)
