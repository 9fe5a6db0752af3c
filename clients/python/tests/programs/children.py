"""children.py METHOD COUNT: children of multiprocessing record, and so does their parent."""

import atexit
import multiprocessing
import os
import sys

from labs_analytics import AnalyticsClient

client = AnalyticsClient(os.environ["URL"], key="la_test", product=10, batch_age=3600)


def work(number):
    assert client.stats().submitted == 0, "a child has nothing of its parent's"
    for part in range(10):
        client.record("child", number * 10 + part)
    assert client.stats().queued == 10
    atexit.register(client.record, "at exit", number)


def main(method, count):
    context = multiprocessing.get_context(method)
    for number in range(5):
        client.record("parent", number)
    children = [context.Process(target=work, args=(number,)) for number in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert client.stats().queued == 5, "the parent's queue is untouched"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
