"""Bytes of log a second that the engine reads at its start, over `cat` of the same files to
/dev/null; both from the disk's cache. The store is away, so each start finds the same log.

Once without ids of the clients' own, and once with one in every transaction: those are remembered,
and put into their index at each start.
"""

import math
import subprocess
import sys
import time

from lib import engines
from lib.program import run
from lib.rounds import Line, at_least, finish, take_turns

# Datapoints. A start ends with a write and a sync, which take as long as 50 MB of log.
BACKLOG, BACKLOG_WITH_IDS, QUICK_BACKLOG = 40_000_000, 5_000_000, 500_000
CAT_BYTES = 1 << 30  # the files several times over, so that starting `cat` counts for nothing
READ = r"transactions in \d+ segments? read in ([\d.]+) s"


def compare(settings, name, backlog, ids, reach):
    engine = engines.start(settings, name.replace(" ", "-"), DATABASE_URL=engines.no_store())
    engines.fill(engine, QUICK_BACKLOG if settings.quick else backlog, ids)
    bytes_of_log = engine.status()["queue"]["pending_bytes"]
    print(f"  {bytes_of_log / 1e6:.1f} MB of log")

    def measure_engine():
        engine.restart()
        return bytes_of_log / 1e6 / float(engine.wait_for_log(READ)[1])

    def measure_cat():
        files = engines.log_files(engine)  # a start cuts off what the last one had prepared
        size = sum(file.stat().st_size for file in files)
        times = math.ceil(CAT_BYTES / size)
        started = time.perf_counter()
        subprocess.run(["cat", *(files * times)], stdout=subprocess.DEVNULL, check=True)
        return size * times / 1e6 / (time.perf_counter() - started)

    figures = take_turns(settings, {"engine": measure_engine, "cat": measure_cat})
    engine.stop()
    return finish(Line(name, "MB/s", figures["engine"], figures["cat"], "cat", reach=reach))


def measure(settings):
    return [
        compare(settings, "recovery", BACKLOG, ids=False, reach=(at_least(0.5),)),
        compare(settings, "recovery, ids", BACKLOG_WITH_IDS, ids=True, reach=()),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"recovery": measure}))
