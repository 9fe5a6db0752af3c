"""Whether a transaction costs the same however much is queued, and however many connections there
are: the time of the cores that the engine takes for one, and the time that passes for each, with
100 and with 10 million datapoints queued over 1 million, and on 10,000 and on 10 connections over
1,000. The store is away.

Three engines run at the same time, one for each backlog; the load goes to one after the other.

More connections cost any server more: the kernel's memory of each has left the caches when its next
request comes. So nginx has the same connections in the same rounds, and its growth is the line that
the engine's is compared with.
"""

import contextlib
import resource
import sys
import time
from operator import truediv

from lib import corpus, engines
from lib.load import Invalid, Load
from lib.nginx import Nginx
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
    """What a transaction costs a server under a Load. measure() gives microseconds of the cores;
    those that passed are kept, the unmeasured round included. `count` gives how many the server has
    done, `checked` a context that wants wrk's result in the dict that it gives."""

    def __init__(self, settings, load, processes, count, checked):
        self.settings = settings
        self.load = load
        self.processes = processes
        self.count = count
        self.checked = checked
        self.passed = []
        load.probe()

    def _now(self):
        return self.count(), time.perf_counter(), engines.cpu_seconds(self.processes)

    def measure(self):
        with self.checked() as result:
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


def of_engine(settings, engine, bodies, connections):
    load = Load(engine.url, "/analytics", engine.token(), bodies, connections)
    return Cost(
        settings,
        load,
        [engine.process.pid],
        lambda: engine.metrics()[COMMITTED],
        lambda: engines.accepting(engine, 1, connections),
    )


def of_nginx(settings, nginx, token, bodies, connections):
    load = Load(nginx.url, "/analytics", token, bodies, connections)
    return Cost(
        settings, load, nginx.processes(), nginx.answered, lambda: contextlib.nullcontext({})
    )


def compare(settings, costs, name, beside=()):
    """`costs`: {figure: Cost}. Gives two lines for each but the first, over the first. `beside` is
    a yardstick's Costs for the same figures; each gives one more, of how much both grow."""
    sides = {f"{figure:,}": cost.measure for figure, cost in costs.items()}
    sides |= {f"nginx {figure:,}": beside[figure].measure for figure in beside}
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
        if other in beside:
            grown = [
                list(map(truediv, cpu[f"{side}{ours}"], cpu[f"{side}{theirs}"]))
                for side in ("", "nginx ")
            ]
            lines.append(Line(f"CPU, {told}", f"times {theirs}'s", *grown, "nginx 202", 2))
    return [finish(line) for line in lines]


def measure(settings):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
    options = {"DATABASE_URL": engines.no_store(), "MAX_CONNECTIONS": max(CONNECTIONS) + MORE}
    backlogs = {}
    for datapoints in QUICK_BACKLOGS if settings.quick else BACKLOGS:
        engine = engines.start(settings, f"{datapoints}-queued", **options)
        engines.fill(engine, datapoints)
        backlogs[datapoints] = engine
    queued = {
        figure: of_engine(settings, engine, bodies, BESIDE_BACKLOGS)
        for figure, engine in backlogs.items()
    }
    lines = compare(settings, queued, "{} datapoints queued")
    for engine in backlogs.values():
        engine.stop()
    engine = engines.start(settings, "connections", **options)
    nginx = Nginx(settings.folder / "nginx")
    settings.stack.callback(nginx.stop)
    ours = {count: of_engine(settings, engine, bodies, count) for count in CONNECTIONS}
    theirs = {
        count: of_nginx(settings, nginx, engine.token(), bodies, count) for count in CONNECTIONS
    }
    return lines + compare(settings, ours, "{} connections", theirs)


if __name__ == "__main__":
    sys.exit(run(__doc__, {"flat": measure}))
