"""99th percentile of the time to an acknowledgement at a fixed rate: with the store up, with the
store down, and with the store being killed and revived all the while; over fdatasync alone, as
often as the engine commits at that rate, and over each other. With the store down also over that
and nginx's own at the same rate, one after the other: the way to and fro has to be gone, too.

With the store up twice, for its syncs stand in the same queue as the engine's: on the same disk,
and with its files in memory, which is as good as a disk of its own. The difference is the disk's;
what is then left above the line with the store down is the work of both.
"""

import contextlib
import shutil
import sys
import threading
from pathlib import Path

from lib import corpus, disk, engines, postgres
from lib.load import Invalid, Load, reached
from lib.nginx import Nginx
from lib.program import run
from lib.rounds import Line, at_most, finish, take_turns

RATE = 5000  # requests a second
# A connection is taken while its request waits: so many let a standstill of 51 ms pass without
# holding a single request back.
CONNECTIONS = 256
TRIES = 3
KILL_EVERY_S = 0.4
SYNCS = "labs_analytics_queue_syncs_total"
MEMORY = Path("/dev/shm")
ROOM = 2 << 30  # bytes that a store in memory may come to need


@contextlib.contextmanager
def killing(server):
    """Kills the server and starts it again for as long as the body runs."""
    over = threading.Event()
    faults, kills = [], 0

    def kill_and_revive():
        nonlocal kills
        try:
            while not over.wait(KILL_EVERY_S):
                server.kill()
                kills += 1
                over.wait(KILL_EVERY_S)
                server.start()
        except BaseException as fault:  # noqa: BLE001 (raised by the thread that waits)
            faults.append(fault)

    thread = threading.Thread(target=kill_and_revive)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        server.start()
    if faults:
        raise faults[0]
    if kills == 0:
        raise Invalid("the store was never killed: the round is too short")


def p99(result):
    """In milliseconds, or None if wrk's result is not of that rate."""
    return result["p99"] * 1000 if reached(result, RATE) else None


class Side:
    """An engine under the fixed rate; measure() gives its p99()."""

    def __init__(self, settings, name, bodies, url):
        self.settings = settings
        self.engine = engines.start(settings, name, DATABASE_URL=url)
        token = self.engine.token()
        self.load = Load(self.engine.url, "/analytics", token, bodies, CONNECTIONS)
        self.load.probe()

    def measure(self):
        with engines.accepting(self.engine, 1, CONNECTIONS) as result:
            result |= self.load.run(self.settings.seconds, RATE)
        return p99(result)


def apart(settings, bodies):
    """An engine whose store has no share in the engine's disk, or None if there is no room."""
    free = shutil.disk_usage(MEMORY).free if MEMORY.is_dir() else 0
    if free < ROOM:
        print(f"  left out: a store on a disk of its own ({MEMORY} has {free >> 20} MiB free)")
        return None
    return Side(settings, "apart", bodies, postgres.start(settings, MEMORY).url())


def commits_a_second(settings, side):
    for _ in range(TRIES):
        before = side.engine.metrics()[SYNCS]
        if side.measure() is not None:
            return (side.engine.metrics()[SYNCS] - before) / settings.seconds
    raise Invalid(f"{RATE} requests a second were not reached {TRIES} times")


def measure(settings):
    bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
    server = postgres.start(settings)
    up = Side(settings, "up", bodies, server.url())
    down = Side(settings, "down", bodies, engines.no_store())
    alone = apart(settings, bodies)
    commits = commits_a_second(settings, down)
    print(f"  {RATE} requests a second are {commits:.0f} commits a second")

    def measure_up(side):
        figure = side.measure()
        side.engine.wait_until_stored()
        return figure

    def measure_killed():
        with killing(server):
            figure = up.measure()
        up.engine.wait_until_stored()
        return figure

    nginx = Nginx(settings.folder / "nginx")
    settings.stack.callback(nginx.stop)
    way = Load(nginx.url, "/analytics", down.load.token, bodies, CONNECTIONS)
    way.probe()

    def measure_disk():
        took = disk.sync_latencies(settings.folder, settings.seconds, commits)
        return disk.percentile(took, 99) * 1000

    sides = {"fdatasync": measure_disk, "nginx": lambda: p99(way.run(settings.seconds, RATE))}
    sides |= {"up": lambda: measure_up(up), "down": down.measure}
    if alone:
        sides["apart"] = lambda: measure_up(alone)
    figures = take_turns(settings, sides | {"killed": measure_killed})
    syncs, name, twice = figures["fdatasync"], "p99 of fdatasync", (at_most(2),)
    both = [
        None if None in pair else sum(pair) for pair in zip(syncs, figures["nginx"], strict=True)
    ]
    lines = [
        Line("p99, store up", "ms", figures["up"], syncs, name, 2, twice),
        Line("p99, store down", "ms", figures["down"], syncs, name, 2, twice),
        Line("p99, store down", "ms", figures["down"], both, "sync, then nginx", 2),
        Line("p99, store down", "ms", figures["down"], figures["up"], "store up", 2),
        Line("p99, store killed", "ms", figures["killed"], figures["up"], "store up", 2),
    ]
    if alone:
        lines.insert(1, Line("p99, store apart", "ms", figures["apart"], syncs, name, 2))
    return [finish(line) for line in lines]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"latency": measure}))
