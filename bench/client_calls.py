"""Times calls of submit() in one process: `ours`, or those of the published package.

    client_calls.py ours|published URL TOKEN KEY SECONDS

Runs in .venv-client; KEY is the file of the engine's development key. Between calls the caller
does what a request does: some work in Python, and a wait of a millisecond in which other threads
run. Prints one line of JSON: the times of the calls in microseconds, and how many transactions
the engine has been sent without a fault.
"""

import json
import sys
import time

URL, TOKEN, KEY, SECONDS = sys.argv[2:]
WARM_UP = 100  # calls: threads start, connections open, imports are made


def ours():
    from labs_analytics import AnalyticsClient, Product

    client = AnalyticsClient(URL, token=TOKEN, product=Product.CLUBS, exit_timeout=0)

    def finish():
        client.flush(60 if is_up() else 0)
        return client.stats().accepted

    return client.submit, finish


def published():
    from django.conf import settings

    settings.configure(LABS_ACCOUNTS={"CLIENT_ID": "none", "CLIENT_SECRET": "none"})
    from analytics.analytics import LabsAnalyticsRecorder, Product
    from identity.identity import container
    from jwcrypto import jwk, jwt

    with open(KEY, "rb") as file:
        container.access_jwt = jwt.JWT(key=jwk.JWK.from_pem(file.read()), jwt=TOKEN)
    LabsAnalyticsRecorder.ANALYTICS_URL = URL + "/analytics"
    recorder = LabsAnalyticsRecorder(Product.CLUBS)
    sent = []
    send = recorder.session.post

    def counted(**arguments):
        if send(**arguments).status_code == 200:
            sent.append(1)

    recorder.session.post = counted

    def finish():
        recorder.executor.shutdown(wait=True)
        return len(sent)

    return recorder.submit, finish


def is_up():
    import socket

    host, port = URL.removeprefix("http://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def work():
    return len(json.dumps([{"name": f"club {n}", "members": n} for n in range(100)]))


def main(side):
    submit, finish = {"ours": ours, "published": published}[side]()
    took = []
    end = time.monotonic() + float(SECONDS)
    calls = 0
    while calls < WARM_UP or time.monotonic() < end:
        work()
        data = [
            {"key": "club.visit.get", "value": f"club-{calls}"},
            {"key": "club.search.get", "value": "robotics"},
        ]
        time.perf_counter_ns()  # the first look at the clock is slow after other work
        before = time.perf_counter_ns()
        submit(data, pennkey="jdoe")
        took.append((time.perf_counter_ns() - before) / 1000)
        calls += 1
        time.sleep(0.001)
    print(json.dumps({"us": took[WARM_UP:], "calls": calls, "sent": finish()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
