"""Bytes that a datapoint takes in the log, over those of the same datapoint as a line of CSV with
the columns that the table has of it: taken in as single transactions, each with a commit of its
own, and in batches. These are the same in every round, so there is one.
"""

import subprocess
import sys

from lib import corpus, engines
from lib.program import run
from lib.rounds import Line, at_most, finish

SINGLE = 2000  # transactions
ROWS = "SELECT transaction_id, product, pennkey, datapoint, value, timestamp FROM event"


def sizes(settings, name, send):
    """Bytes of log and bytes of CSV for a datapoint, once `send(engine)` has sent some."""
    engine = engines.start(settings, name, DATABASE_URL=engines.no_store())
    send(engine)
    queue = engine.status()["queue"]
    log = queue["pending_bytes"] / (queue["pending_transactions"] * corpus.DATAPOINTS)
    database = engine.folder / "events.db"
    engine.restart(DATABASE_URL=f"sqlite:{database}")
    engine.wait_until_stored()
    engine.stop()
    done = subprocess.run(
        ["sqlite3", "-csv", "-newline", "\n", database, ROWS], capture_output=True, check=True
    )
    return log, len(done.stdout) / done.stdout.count(b"\n")


def measure(settings):
    def single(engine):
        for body in corpus.transactions(SINGLE):
            engine.post(body).raise_for_status()

    def batches(engine):
        engines.fill(engine, corpus.TRANSACTIONS * corpus.DATAPOINTS)

    lines = []
    for name, send in {"log, single transactions": single, "log, batches": batches}.items():
        log, csv = sizes(settings, name.replace(" ", "-"), send)
        reach = (at_most(1.0),)
        lines.append(finish(Line(name, "bytes/datapoint", [log], [csv], "CSV", 1, reach)))
    return lines


if __name__ == "__main__":
    sys.exit(run(__doc__, {"log_size": measure}))
