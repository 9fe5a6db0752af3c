"""A greenlet records; nothing is sent before the end of the program, which starts no thread."""

from gevent import monkey

monkey.patch_all()

import atexit  # noqa: E402
import os  # noqa: E402

import gevent  # noqa: E402
import gevent.threadpool  # noqa: E402

from labs_analytics import AnalyticsClient  # noqa: E402

client = AnalyticsClient(os.environ["URL"], key="la_test", product=10, batch_age=3600)


def refuse(*_):
    raise RuntimeError("can't create new thread at interpreter shutdown")


# As Python 3.12 does at its end.
atexit.register(setattr, gevent.threadpool, "start_new_thread", refuse)
gevent.spawn(client.record, "greenlet", 1).join()
with gevent.Timeout(10, False):
    while not gevent.get_hub().threadpool.size:
        gevent.sleep(0)
