"""Resident memory: idle, with 10,000 idle connections and at its peak under load, over nginx's,
master and workers together; and at its peak with a backlog of 50 million datapoints and the store
down, over a tenth of it. Every round starts its processes anew; the backlog has one round.
"""

import contextlib
import dataclasses
import re
import resource
import shutil
import socket
import sys

from lib import corpus, engines
from lib.load import Invalid, Load
from lib.nginx import Nginx
from lib.program import run
from lib.rounds import Line, at_most, finish, take_turns

BACKLOG, QUICK_BACKLOG = 50_000_000, 500_000
CONNECTIONS = 256
IDLE_CONNECTIONS = 10_000
MORE = 100  # connections that may come beside those


def mib(figure):
    return (at_most(figure, absolute=True),)


@contextlib.contextmanager
def idle_connections(url, count):
    """So many that have had an answer, which is how they come to be idle; all are open at the end
    as well."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(stack.enter_context(socket.create_connection((host, int(port)), 30)))
            opened[-1].sendall(b"GET / HTTP/1.1\r\nHost: idle\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += opened[-1].recv(4096)
            length = int(re.search(rb"(?i)content-length: (\d+)", answer)[1])
            missing = length - len(answer.split(b"\r\n\r\n", 1)[1])
            if missing > 0:
                opened[-1].recv(missing, socket.MSG_WAITALL)
        yield
        for connection in opened:
            connection.setblocking(False)
            try:
                raise Invalid(f"an idle connection was told {connection.recv(100)!r}")
            except BlockingIOError:
                pass


class Memory:
    def __init__(self, settings):
        self.settings = settings
        self.bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
        self.count = 0
        self.token = None
        self.loaded = {"engine": [], "nginx": []}
        self.connected = {"engine": [], "nginx": []}
        self.tenth = []

    def _name(self, kind):
        self.count += 1
        return f"{kind}-{self.count}"

    def _end(self, engine):
        engine.finish()
        shutil.rmtree(engine.folder)

    def _load(self, url):
        load = Load(url, "/analytics", self.token, self.bodies, CONNECTIONS)
        load.probe()
        load.run(self.settings.seconds)

    def _connect(self, side, url, processes):
        with idle_connections(url, IDLE_CONNECTIONS):
            self.connected[side].append(engines.memory(processes))

    def engine(self):
        """Gives what it takes idle, and notes what it takes with idle connections, and at most
        under load."""
        most = {"MAX_CONNECTIONS": IDLE_CONNECTIONS + MORE}
        engine = engines.start(self.settings, self._name("engine"), **most)
        self.token = engine.token()
        idle = engines.memory([engine.process.pid])
        self._connect("engine", engine.url, [engine.process.pid])
        self._load(engine.url)
        self.loaded["engine"].append(engines.memory([engine.process.pid], "VmHWM"))
        self._end(engine)
        return idle

    def nginx(self):
        nginx = Nginx(self.settings.folder / self._name("nginx"))
        self.settings.stack.callback(nginx.stop)
        idle = engines.memory(nginx.processes())
        self._connect("nginx", nginx.url, nginx.processes())
        self._load(nginx.url)
        self.loaded["nginx"].append(engines.memory(nginx.processes(), "VmHWM"))
        nginx.stop()
        return idle

    def backlog(self):
        """Gives the peak with the whole backlog, and notes that with a tenth of it."""
        datapoints = QUICK_BACKLOG if self.settings.quick else BACKLOG
        engine = engines.start(
            self.settings, self._name("backlog"), DATABASE_URL=engines.no_store()
        )
        engines.fill(engine, datapoints // 10)
        self.tenth.append(engines.memory([engine.process.pid], "VmHWM"))
        engines.fill(engine, datapoints - datapoints // 10)
        whole = engines.memory([engine.process.pid], "VmHWM")
        self._end(engine)
        return whole


def measure(settings):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    memory = Memory(settings)
    idle = take_turns(settings, {"engine": memory.engine, "nginx": memory.nginx}, warm_up=False)
    once = dataclasses.replace(settings, rounds=1)
    backlog = take_turns(once, {"backlog": memory.backlog}, warm_up=False)["backlog"]
    loaded, connected = memory.loaded, memory.connected
    lines = [
        Line("memory, idle", "MiB", idle["engine"], idle["nginx"], "nginx", 1, mib(24)),
        Line(
            f"memory, {IDLE_CONNECTIONS:,} idle connections",
            "MiB",
            connected["engine"],
            connected["nginx"],
            "nginx",
            1,
            mib(96),
        ),
        Line("memory, under load", "MiB", loaded["engine"], loaded["nginx"], "nginx", 1),
        Line("memory, backlog", "MiB", backlog, memory.tenth, "a tenth of it", 1, mib(64)),
    ]
    return [finish(line) for line in lines]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"memory": measure}))
