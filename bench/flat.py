"""Whether a transaction costs the same however much is queued, and however many connections there
are: the time of the cores that the engine takes for one, and the time that passes for each, with
100 and with 10 million datapoints queued over 1 million, and on 10,000 and on 10 connections over
1,000. The store is away.

Three engines run at the same time, one for each backlog; the load goes to one after the other.
"""

import resource
import sys
import time

from lib import corpus, engines
from lib.load import Invalid, Load
from lib.program import run
from lib.rounds import Line, at_most, finish, take_turns

BACKLOGS, QUICK_BACKLOGS = (1_000_000, 10_000_000, 100_000_000), (100_000, 300_000, 1_000_000)
CONNECTIONS = (1_000, 10, 10_000)
BESIDE_BACKLOGS = 64  # connections
SETTLING_S = 1.0  # until wrk has opened its connections, and longer than an answer takes then
MORE = 100  # connections that may come beside those
COMMITTED = "labs_analytics_queue_committed_transactions_total"
FLAT = (at_most(1.15),)


class Cost:
    """What a transaction costs an engine on so many connections. measure() gives microseconds of
    the cores; those that passed are kept, the unmeasured round included."""

    def __init__(self, settings, engine, bodies, connections):
        self.settings = settings
        self.engine = engine
        self.load = Load(engine.url, "/analytics", engine.token(), bodies, connections)
        self.load.probe()
        self.passed = []

    def _now(self):
        committed = self.engine.metrics()[COMMITTED]
        return committed, time.perf_counter(), engines.cpu_seconds([self.engine.process.pid])

    def measure(self):
        with engines.accepting(self.engine, 1, self.load.connections) as result:
            with self.load.running() as sent:
                time.sleep(SETTLING_S)
                before = self._now()
                time.sleep(self.settings.seconds)
                count, passed, cpu = map(lambda a, b: b - a, before, self._now())
            result |= sent
        if count <= 0:
            raise Invalid("nothing was committed")
        self.passed.append(passed / count * 1e6)
        return cpu / count * 1e6


def compare(settings, costs, name):
    """`costs`: {figure: Cost}. Gives two lines for each but the first, over the first."""
    sides = {f"{figure:,}": cost.measure for figure, cost in costs.items()}
    cpu = take_turns(settings, sides)
    first, *others = costs
    lines = []
    for other in reversed(others):
        ours, theirs = f"{other:,}", f"{first:,}"
        told, limit = name.format(ours), f"with {theirs}"
        passed = [costs[figure].passed[1:] for figure in (other, first)]
        lines += [
            Line(f"CPU, {told}", "us", cpu[ours], cpu[theirs], limit, 2, FLAT),
            Line(f"time, {told}", "us", *passed, limit, 2, FLAT),
        ]
    return [finish(line) for line in lines]


def measure(settings):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
    options = {"DATABASE_URL": engines.no_store(), "MAX_CONNECTIONS": max(CONNECTIONS) + MORE}
    costs = {}
    for datapoints in QUICK_BACKLOGS if settings.quick else BACKLOGS:
        engine = engines.start(settings, f"{datapoints}-queued", **options)
        engines.fill(engine, datapoints)
        costs[datapoints] = Cost(settings, engine, bodies, BESIDE_BACKLOGS)
    lines = compare(settings, costs, "{} datapoints queued")
    for cost in costs.values():
        cost.engine.stop()
    engine = engines.start(settings, "connections", **options)
    costs = {count: Cost(settings, engine, bodies, count) for count in CONNECTIONS}
    return lines + compare(settings, costs, "{} connections")


if __name__ == "__main__":
    sys.exit(run(__doc__, {"flat": measure}))
