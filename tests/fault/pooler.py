"""PgBouncer in front of PostgreSQL: many clients share few sessions, each for a transaction."""

import os
import socket
import subprocess

from support import guard, ports
from support.postgres import PASSWORD, USER
from support.wait import wait_until

SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
"""


class Pooler:
    def __init__(self, postgres, folder):
        self.port = ports.take()
        self._settings = folder / "pgbouncer.ini"
        self._settings.write_text(
            SETTINGS.format(server=postgres.port, user=USER, password=PASSWORD, port=self.port)
        )
        self._log = folder / "pgbouncer.log"
        self._process = None

    def start(self):
        # It refuses to run as root.
        user = ["--user=postgres"] if os.geteuid() == 0 else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["pgbouncer", *user, self._settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"},
            )
        guard.watch(self._process)
        wait_until(self._listens, 30, "PgBouncer to take connections")

    def _listens(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"PgBouncer ended: {self._log.read_text()[-2000:]}")
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
