"""99th percentile of the time to an acknowledgement while 5 million transactions come in and the
store is away, over the same with the store up. Two engines take turns at the same rate; the backlog
of the one grows through all rounds.
"""

import json
import sys

from lib import corpus, engines, postgres
from lib.load import LEAST, Invalid, Load, reached
from lib.program import run
from lib.rounds import Line, finish, take_turns

BACKLOG, QUICK_BACKLOG = 5_000_000, 40_000
# Transactions a second, of one datapoint each: with ten, PostgreSQL would take the cores that the
# clients need, and the line with the store up would be the worse for it.
RATE = 20_000
CONNECTIONS = 256


class Side:
    """An engine under the fixed rate; measure() gives the 99th percentile in milliseconds, or
    None if the round did not reach the rate."""

    def __init__(self, settings, name, bodies, url):
        self.engine = engines.start(settings, name, DATABASE_URL=url)
        self.load = Load(self.engine.url, "/analytics", self.engine.token(), bodies, CONNECTIONS)
        self.load.probe()

    def measure(self, seconds):
        with engines.accepting(self.engine, 1, CONNECTIONS) as result:
            result |= self.load.run(seconds, RATE)
        return result["p99"] * 1000 if reached(result, RATE) else None


def single(body):
    transaction = json.loads(body)
    return json.dumps(transaction | {"data": transaction["data"][:1]})


def measure(settings):
    bodies = [single(body) for body in corpus.transactions()]
    bodies = corpus.write(bodies, settings.folder / "transactions")
    server = postgres.start(settings)
    up = Side(settings, "up", bodies, server.url())
    away = Side(settings, "away", bodies, engines.no_store())
    backlog = QUICK_BACKLOG if settings.quick else BACKLOG
    seconds = max(1, round(backlog / settings.rounds / RATE))

    def measure_up():
        figure = up.measure(settings.seconds)
        up.engine.wait_until_stored()
        return figure

    measure_up()
    away.measure(1)
    figures = take_turns(
        settings,
        {"up": measure_up, "away": lambda: away.measure(seconds)},
        warm_up=False,
    )
    queued = away.engine.counts()["uncompleted"]
    if queued < LEAST * backlog:
        raise Invalid(f"{queued} transactions came in while the store was away, not {backlog}")
    print(f"  {queued} transactions wait for the store that is away", flush=True)
    return [
        finish(Line("p99, 5 million behind", "ms", figures["away"], figures["up"], "store up", 2))
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"away": measure}))
