"""A throwaway PostgreSQL: its own cluster in a temporary folder, on a port of its own.

It may be stopped, started and killed; a database of a killed server is whole again after
start(). fsync is off, for these tests kill processes, not machines; synchronous_commit stays on,
for without it a kill loses what was committed.
"""

import grp
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import psycopg.rows
from support import guard, ports
from support.wait import wait_until

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "50",
    "log_min_messages": "warning",
    "logging_collector": "off",
}
USER, PASSWORD = "labs", "labs-pass"


def _programs():
    """The newest server on this machine, 13 or later."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[4])
    )
    if found:
        return found[-1].parent
    in_path = shutil.which("postgres")
    if in_path:
        return Path(in_path).resolve().parent
    raise RuntimeError("no PostgreSQL server is installed: run `make setup`")


class Postgres:
    def __init__(self, parent=None):
        """`parent`: the folder that its own is made in, else that of temporary files."""
        self.programs = _programs()
        # Not below pytest's folders: those are closed to the user that the server runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="labs-postgres-", dir=parent))
        guard.watch_folder(self.folder)
        self.port = ports.take()
        self.process = None
        self.databases = []
        self._count = 0
        self._as_user = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            group = grp.getgrgid(user.pw_gid).gr_name
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user = ["setpriv", "--reuid=postgres", f"--regid={group}", "--init-groups"]
        self._run(
            *("initdb", "--no-sync", "--pgdata", self.folder / "data", "--username=postgres"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C"),
        )
        self.start()
        self.query(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")

    def _command(self, program, *arguments):
        return [*self._as_user, self.programs / program, *map(str, arguments)]

    def _run(self, program, *arguments):
        done = subprocess.run(
            self._command(program, *arguments), cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    # -- its life

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Starts the server and waits until it takes queries; nothing if it runs."""
        if self.running:
            return
        settings = SETTINGS | {"port": self.port, "unix_socket_directories": self.folder}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command("postgres", "-D", self.folder / "data", *options),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        guard.watch(self.process)
        wait_until(self._answers, 60, "PostgreSQL to take queries")

    def _answers(self):
        if self.process.poll() is not None:
            log = (self.folder / "server.log").read_text()[-2000:]
            raise RuntimeError(f"PostgreSQL ended with {self.process.poll()}: {log}")
        return self.query("SELECT 1 AS one")

    def stop(self):
        """Ends the server in order, cutting its clients off (a "fast" shutdown)."""
        if self.running:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def kill(self):
        """SIGKILL for the server and all its processes at once."""
        if not self.running:
            return
        # Stopped first, so that it starts no more children while they are listed.
        self.process.send_signal(signal.SIGSTOP)
        children = _children(self.process.pid)
        self.process.kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        wait_until(lambda: not any(map(_is_alive, children)), 30, "PostgreSQL's processes to end")

    def restart_as_standby(self):
        """It answers questions, writes nothing, and waits for what no primary sends."""
        self.stop()
        signal_file = self.folder / "data/standby.signal"
        signal_file.touch()
        if os.geteuid() == 0:
            shutil.chown(signal_file, "postgres")
        self.start()

    def promote(self):
        self.query("SELECT pg_promote()")
        wait_until(
            lambda: not self.query("SELECT pg_is_in_recovery() AS still")[0]["still"],
            60,
            "the promotion",
        )

    def pause(self):
        """SIGSTOP for the server and its processes: connections stay, nothing answers."""
        for process in [self.process.pid, *_children(self.process.pid)]:
            os.kill(process, signal.SIGSTOP)

    def resume(self):
        for process in [*_children(self.process.pid), self.process.pid]:
            os.kill(process, signal.SIGCONT)

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder)

    # -- its databases

    def new_database(self):
        """Makes an empty database that USER owns; gives its name."""
        self._count += 1
        name = f"analytics_{self._count}"
        self.query(f"CREATE DATABASE {name} OWNER {USER}")
        self.databases.append(name)
        return name

    def url(self, database=None, host="127.0.0.1", port=None):
        """The URL of a database: the one named, or else this test's (made on first use).
        `port`: a proxy's."""
        if database is None:
            database = self.databases[-1] if self.databases else self.new_database()
        return f"postgres://{USER}:{PASSWORD}@{host}:{port or self.port}/{database}"

    def query(self, sql, *arguments, database="postgres"):
        """Runs one statement as the superuser, outside a transaction; gives rows as dicts."""
        with psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=10,
            options="-c statement_timeout=60s",
            row_factory=psycopg.rows.dict_row,
        ) as connection:
            done = connection.execute(sql, arguments or None)
            return done.fetchall() if done.description else []

    def ask(self, sql, *arguments):
        """query() in this test's database."""
        return self.query(sql, *arguments, database=self.databases[-1])

    def drop_databases(self):
        for name in self.databases:
            self.query(f"DROP DATABASE {name} WITH (FORCE)")
        self.databases.clear()


def _children(parent):
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in listed.split()]


def _is_alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
