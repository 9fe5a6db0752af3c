"""Rows a second drained into the store, over the store's own tool for loading a file: psql's
\\copy for PostgreSQL, the shell's .import for SQLite.

A backlog is built once, with the store away. In each round the engine starts on a copy of it and
an empty database; the tool loads what the first engine wrote, exported with all its columns,
into another empty database. The engine's clock runs from its first commit to its last, of which
it keeps account in /v1/deliveries; rows of the first batch do not count.
"""

import datetime
import os
import shutil
import subprocess
import sys
import time

from lib import engines, postgres
from lib.load import Invalid
from lib.program import run
from lib.rounds import Line, finish, take_turns
from support.engine import Engine
from support.wait import wait_until

ROWS, QUICK_ROWS = 600_000, 200_000
POLL_S = 0.25  # each look costs the engine a little


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

    def run_engine(self, url):
        """Drains a copy of the backlog; gives rows a second."""
        self.prepare(url)
        self.count += 1
        folder = self.settings.folder / f"drain-{self.count}"
        engines.copy_of(self.backlog.folder, folder)
        engine = Engine(folder, DATABASE_URL=url, SHUTDOWN_TIMEOUT="0")
        try:
            engine.start()
            deliveries = wait_until(
                lambda: self._all_deliveries(engine), 600, "the backlog to be stored", POLL_S
            )
        finally:
            engine.finish()
        shutil.rmtree(folder)
        return _rate(deliveries)

    def _all_deliveries(self, engine):
        deliveries = engine.get("/v1/deliveries?limit=1000").json()["deliveries"]
        stored = [delivery for delivery in deliveries if delivery["outcome"] == "stored"]
        return stored if sum(delivery["rows"] for delivery in stored) == self.rows else None


def _rate(deliveries):
    def end(delivery):
        started = datetime.datetime.fromisoformat(delivery["started_at"])
        return started.timestamp() + delivery["duration_s"]

    ordered = sorted(deliveries, key=end)
    if len(ordered) < 3:
        raise Invalid(f"{len(ordered)} commits are too few to time")
    return sum(delivery["rows"] for delivery in ordered[1:]) / (end(ordered[-1]) - end(ordered[0]))


def check_rows(found, wanted):
    if found != wanted:
        raise Invalid(f"the table has {found} rows, not {wanted}")


def into_postgres(settings, drain):
    server = postgres.start(settings)
    file = settings.folder / "event.txt"

    def empty_database():
        server.drop_databases()
        server.new_database()
        server.query("CHECKPOINT")
        return server.url()

    def measure_engine():
        rate = drain.run_engine(empty_database())
        check_rows(server.ask("SELECT count(*) AS n FROM event")[0]["n"], drain.rows)
        return rate

    def measure_copy():
        url = empty_database()
        drain.prepare(url)
        os.sync()
        took = postgres.copy(url, f"event FROM '{file}'")
        check_rows(server.ask("SELECT count(*) AS n FROM event")[0]["n"], drain.rows)
        return drain.rows / took

    measure_engine()
    postgres.copy(server.url(), f"(SELECT * FROM event ORDER BY id) TO '{file}'")
    measure_copy()
    figures = take_turns(settings, {"engine": measure_engine, "psql": measure_copy}, warm_up=False)
    file.unlink()
    name = "drain into PostgreSQL"
    return finish(Line(name, "rows/s", figures["engine"], figures["psql"], r"psql \copy"))


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
        rate = drain.run_engine(f"sqlite:{database}")
        check_rows(int(shell(database, "SELECT count(*) FROM event")), drain.rows)
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
    name = "drain into SQLite"
    return finish(Line(name, "rows/s", figures["engine"], figures["sqlite3"], "sqlite3 .import"))


def measure(settings):
    drain = Drain(settings, QUICK_ROWS if settings.quick else ROWS)
    return [into_postgres(settings, drain), into_sqlite(settings, drain)]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"drain": measure}))
