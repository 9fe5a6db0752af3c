"""Resident memory: idle and at its peak under load, over nginx's, master and workers together;
and at its peak with a backlog of 5 million datapoints and the store down, over a tenth of it.
Every round starts its processes anew.
"""

import shutil
import sys

from lib import corpus, engines
from lib.load import Load
from lib.nginx import Nginx
from lib.program import run
from lib.rounds import Line, finish, take_turns

BACKLOG, QUICK_BACKLOG = 5_000_000, 500_000
CONNECTIONS = 256


class Memory:
    def __init__(self, settings):
        self.settings = settings
        self.bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
        self.count = 0
        self.token = None
        self.loaded = {"engine": [], "nginx": []}
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

    def engine(self):
        """Gives what it takes idle, and notes what it takes at most under load."""
        engine = engines.start(self.settings, self._name("engine"))
        self.token = engine.token()
        idle = engines.memory([engine.process.pid])
        self._load(engine.url)
        self.loaded["engine"].append(engines.memory([engine.process.pid], "VmHWM"))
        self._end(engine)
        return idle

    def nginx(self):
        nginx = Nginx(self.settings.folder / self._name("nginx"))
        self.settings.stack.callback(nginx.stop)
        idle = engines.memory(nginx.processes())
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
    memory = Memory(settings)
    idle = take_turns(settings, {"engine": memory.engine, "nginx": memory.nginx}, warm_up=False)
    backlog = take_turns(settings, {"backlog": memory.backlog}, warm_up=False)
    loaded = memory.loaded
    lines = [
        Line("memory, idle", "MiB", idle["engine"], idle["nginx"], "nginx", 1),
        Line("memory, under load", "MiB", loaded["engine"], loaded["nginx"], "nginx", 1),
        Line("memory, backlog", "MiB", backlog["backlog"], memory.tenth, "a tenth of it", 1),
    ]
    return [finish(line) for line in lines]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"memory": measure}))
