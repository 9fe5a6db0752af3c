"""Rows a second drained into the store, over the store's own tool for loading a file: psql's
\\copy for PostgreSQL, the shell's .import for SQLite.

A backlog is built once, with the store away. In each round the engine starts on a copy of it and
an empty database; the tool loads what the first engine wrote, exported with all its columns,
into another empty database. The engine's clock runs from its first commit to the last of the
backlog, of which it keeps account in /v1/deliveries; rows of the first batch do not count.

Beside PostgreSQL transactions come in all the while, at a fixed rate. A lock on the table, taken
before the engine starts, holds the first commit back until they do.
"""

import contextlib
import datetime
import functools
import os
import shutil
import subprocess
import sys
import time

from lib import corpus, engines, postgres
from lib.load import Invalid, Load, reached
from lib.program import run
from lib.rounds import Line, at_least, finish, take_turns
from support.engine import Engine
from support.wait import wait_until

ROWS, QUICK_ROWS = 600_000, 200_000
POLL_S = 0.25  # each look costs the engine a little
RATE = 2000  # requests a second that come in meanwhile
CONNECTIONS = 64
COMMITTED = "labs_analytics_queue_committed_transactions_total"
ALL = (at_least(1.0),)


class Drain:
    """What both stores share: the backlog, and the engine that drains copies of it."""

    def __init__(self, settings, rows):
        self.settings = settings
        self.rows = rows
        self.count = 0
        builder = engines.start(settings, "backlog", DATABASE_URL=engines.no_store())
        engines.fill(builder, rows)
        builder.stop()
        self.backlog = builder

    def prepare(self, url):
        """Makes the tables of an empty database."""
        self.backlog.command("migrate", DATABASE_URL=url)

    def run_engine(self, url, beside=contextlib.nullcontext):
        """Drains a copy of the backlog into a database with its tables; gives rows a second, and
        how many rows there are in the end. `beside(engine)` is entered before and left when the
        backlog is stored."""
        self.count += 1
        folder = self.settings.folder / f"drain-{self.count}"
        engines.copy_of(self.backlog.folder, folder)
        engine = Engine(folder, DATABASE_URL=url, SHUTDOWN_TIMEOUT="0")
        try:
            engine.start()
            with beside(engine):
                deliveries = wait_until(
                    lambda: self._backlog(engine), 600, "the backlog to be stored", POLL_S
                )
            stored = engine.wait_until_stored(600)["successful"]
        finally:
            engine.finish()
        shutil.rmtree(folder)
        return _rate(deliveries), stored * corpus.DATAPOINTS

    def _backlog(self, engine):
        """The deliveries of the backlog, in their order; None while it is not stored."""
        deliveries = engine.get("/v1/deliveries?limit=1000").json()["deliveries"]
        stored = [delivery for delivery in deliveries if delivery["outcome"] == "stored"]
        left = self.rows
        needed = []
        for delivery in sorted(stored, key=_end):
            if left > 0:
                needed.append(delivery)
                left -= delivery["rows"]
        return needed if left <= 0 else None


def _end(delivery):
    started = datetime.datetime.fromisoformat(delivery["started_at"])
    return started.timestamp() + delivery["duration_s"]


def _rate(deliveries):
    if len(deliveries) < 3:
        raise Invalid(f"{len(deliveries)} commits are too few to time")
    rows = sum(delivery["rows"] for delivery in deliveries[1:])
    return rows / (_end(deliveries[-1]) - _end(deliveries[0]))


def check_rows(found, wanted):
    if found != wanted:
        raise Invalid(f"the table has {found} rows, not {wanted}")


def into_postgres(settings, drain):
    server = postgres.start(settings)
    file = settings.folder / "event.txt"
    bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")

    def empty_database():
        server.drop_databases()
        server.new_database()
        server.query("CHECKPOINT")
        return server.url()

    @contextlib.contextmanager
    def traffic(engine, release):
        load = Load(engine.url, "/analytics", engine.token(), bodies, CONNECTIONS)
        with load.running(RATE) as result:
            engine.wait_until(lambda: engine.metrics()[COMMITTED] > RATE / 10, 30)
            release()
            yield
        if not reached(result, RATE):
            raise Invalid("too few requests came in beside it")

    def measure_engine():
        url = empty_database()
        drain.prepare(url)
        with postgres.locked(url, "event") as release:  # before the engine is there to store rows
            rate, rows = drain.run_engine(url, functools.partial(traffic, release=release))
        check_rows(server.ask("SELECT count(*) AS n FROM event")[0]["n"], rows)
        return rate

    def measure_copy():
        url = empty_database()
        drain.prepare(url)
        os.sync()
        took = postgres.copy(url, f"event FROM '{file}'")
        check_rows(server.ask("SELECT count(*) AS n FROM event")[0]["n"], drain.rows)
        return drain.rows / took

    url = empty_database()
    drain.prepare(url)
    drain.run_engine(url)
    postgres.copy(server.url(), f"(SELECT * FROM event ORDER BY id) TO '{file}'")
    measure_engine()
    measure_copy()
    figures = take_turns(settings, {"engine": measure_engine, "psql": measure_copy}, warm_up=False)
    file.unlink()
    name, limit = "drain into PostgreSQL", r"psql \copy"
    return finish(Line(name, "rows/s", figures["engine"], figures["psql"], limit, reach=ALL))


def into_sqlite(settings, drain):
    database = settings.folder / "event.db"
    file = settings.folder / "event.csv"

    def shell(*words):
        done = subprocess.run(["sqlite3", *words], capture_output=True, text=True, check=False)
        if done.returncode != 0 or done.stderr:
            raise RuntimeError(f"sqlite3: {done.stderr}")
        return done.stdout

    def remove_database():
        for path in settings.folder.glob("event.db*"):
            path.unlink()

    def measure_engine():
        remove_database()
        drain.prepare(f"sqlite:{database}")
        rate, rows = drain.run_engine(f"sqlite:{database}")
        check_rows(int(shell(database, "SELECT count(*) FROM event")), rows)
        return rate

    def measure_import():
        remove_database()
        drain.prepare(f"sqlite:{database}")
        os.sync()
        started = time.perf_counter()
        # As durable as the engine's: the journal's mode stays with the file, this does not.
        shell(database, "PRAGMA synchronous = FULL", f".import --csv {file} event")
        took = time.perf_counter() - started
        check_rows(int(shell(database, "SELECT count(*) FROM event")), drain.rows)
        return drain.rows / took

    measure_engine()
    with file.open("w") as exported:
        subprocess.run(
            ["sqlite3", "-csv", database, "SELECT * FROM event ORDER BY id"],
            stdout=exported,
            check=True,
        )
    measure_import()
    figures = take_turns(
        settings, {"engine": measure_engine, "sqlite3": measure_import}, warm_up=False
    )
    name, limit = "drain into SQLite", "sqlite3 .import"
    return finish(Line(name, "rows/s", figures["engine"], figures["sqlite3"], limit, reach=ALL))


def measure(settings):
    drain = Drain(settings, QUICK_ROWS if settings.quick else ROWS)
    return [into_postgres(settings, drain), into_sqlite(settings, drain)]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"drain": measure}))
