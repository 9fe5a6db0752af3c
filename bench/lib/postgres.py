"""The throwaway PostgreSQL of the tests, made to keep its word as a real one does."""

import contextlib
import re
import subprocess

import psycopg
from support import postgres

SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    # Checkpoints and vacuum come when they like; here they would hit one side and not the other.
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
}


def start(settings, parent=None):
    """A server that runs until the measurement ends, with its files in a folder of its own in
    `parent`."""
    postgres.SETTINGS.update(SETTINGS)
    server = postgres.Postgres(parent)
    settings.stack.callback(server.remove)
    return server


@contextlib.contextmanager
def locked(url, table):
    """Nobody else writes into the table until what this gives is called."""
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield connection.rollback


def copy(url, what):
    """Runs psql's \\copy; gives the seconds by psql's own clock, which starts behind connecting."""
    done = subprocess.run(
        ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", url]
        + ["--command", r"\timing on", "--command", rf"\copy {what}"],
        capture_output=True,
        text=True,
        check=False,
    )
    time = re.search(r"^Time: ([\d.]+) ms", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not time:
        raise RuntimeError(f"psql \\copy {what}: {done.stdout}{done.stderr}")
    return float(time[1]) / 1000
