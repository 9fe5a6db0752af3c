"""What reading, checking and encoding a transaction of 10 datapoints costs on one core, without
network and disk, over simdjson On Demand that looks at the same fields of the same bodies and keeps
nothing. ingest_cost.c measures both in one process, in turns.
"""

import json
import subprocess
import sys

from lib import corpus
from lib.program import run
from lib.rounds import Line, at_most, finish
from support.paths import BINARY

PROGRAM = BINARY.parent / "bench/bench-ingest-cost"
REACH = (at_most(2.0), at_most(1.5, absolute=True))  # half of simdjson's speed is twice its time


def measure(settings):
    if not PROGRAM.exists():
        raise FileNotFoundError(f"{PROGRAM}: run `make bench`, which builds it")
    bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")

    def one_round():
        words = [PROGRAM, bodies, str(settings.seconds)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        print(f"  nanoseconds: {done.stdout.strip()}", flush=True)
        return json.loads(done.stdout)

    rounds = [one_round() for _ in range(settings.rounds)]
    ours, theirs = ([told[side] / 1000 for told in rounds] for side in ("all", "simdjson"))
    return [finish(Line("read, check, encode", "us", ours, theirs, "simdjson", 2, REACH))]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"ingest": measure}))
