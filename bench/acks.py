"""Durable acknowledgements a second: single transactions of 10 datapoints on keep-alive
connections, token checked, fsync, over nginx that answers the same requests with a static 202; and
the processor's time that each side takes for them.

At 256, 64 and 16 connections with the store away, so that the request's path is measured alone;
with 16 also over what nobody can pass who waits for the disk; with 256 by TLS as well; and with
256 while the engine forwards into its embedded store on the same cores.
"""

import ssl
import statistics
import sys

from lib import corpus, disk, engines
from lib.load import Invalid, Load
from lib.nginx import Nginx
from lib.program import run
from lib.rounds import Line, at_least, at_most, finish, take_turns
from support.certificates import Authority

FEW = 16
CPU = (at_most(25, absolute=True),)  # seconds for a million


class Side:
    """One server under load. What each round cost is kept, the unmeasured one included; a round
    ends when `settle`, if there is one, has waited for what is left to do."""

    def __init__(self, settings, load, processes, settle=None):
        load.probe()
        self.settings = settings
        self.load = load
        self.processes = processes
        self.settle = settle
        self.cpu = []  # seconds of the cores for a million answers
        self.mean = []  # seconds to an answer

    def measure(self):
        before = engines.cpu_seconds(self.processes)
        result = self.load.run(self.settings.seconds)
        if self.settle:
            self.settle()
        self.cpu.append((engines.cpu_seconds(self.processes) - before) / result["requests"] * 1e6)
        self.mean.append(result["mean"])
        return result


class Acks:
    def __init__(self, settings):
        self.settings = settings
        self.bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
        self.authority = Authority(settings.folder / "authority.pem")
        self.certificate = settings.folder / "certificate.pem"
        self.key = settings.folder / "key.pem"
        self.authority.issue(self.certificate, self.key)
        self.nginx = Nginx(settings.folder / "nginx", self.certificate, self.key)
        settings.stack.callback(self.nginx.stop)

    def _side(self, url, token, connections, processes, settle=None):
        ca_file = self.authority.ca_file
        load = Load(url, "/analytics", token, self.bodies, connections, ca_file)
        return Side(self.settings, load, processes, settle)

    def compare(self, name, connections, reach=(), tls=False, also=None, **options):
        """Gives both sides, the figures of each by round, and the line. `also`: {name: function}
        of what else is measured in the same rounds. Without DATABASE_URL rows go into the embedded
        store, and all of them are there before the round ends."""
        folder = name.replace(" ", "-")
        if tls:
            options |= {"listen": "https://127.0.0.1:0", "ca_file": self.authority.ca_file}
            options |= {"TLS_CERT": self.certificate, "TLS_KEY": self.key}
        engine = engines.start(self.settings, folder, **options)
        settle = None if "DATABASE_URL" in options else engine.wait_until_stored
        ours = self._side(engine.url, engine.token(), connections, [engine.process.pid], settle)
        url = self.nginx.tls_url if tls else self.nginx.url
        theirs = self._side(url, engine.token(), connections, self.nginx.processes())
        if tls:
            check_same_session(engine.url, url, self.authority.ca_file)

        def measure_engine():
            with engines.accepting(engine, 1, connections) as result:
                result |= ours.measure()
            return result["requests"] / result["seconds"]

        def measure_nginx():
            result = theirs.measure()
            return result["requests"] / result["seconds"]

        sides = {"engine": measure_engine, "nginx": measure_nginx} | (also or {})
        figures = take_turns(self.settings, sides)
        engine.stop()
        line = Line(name, "1/s", figures["engine"], figures["nginx"], "nginx 202", reach=reach)
        return ours, theirs, figures, finish(line)


def check_same_session(ours, theirs, ca_file):
    """Both sides speak the same version of TLS, with the same cipher."""

    def agreed(url):
        host, port = url.removeprefix("https://").rsplit(":", 1)
        context = ssl.create_default_context(cafile=ca_file)
        with context.wrap_socket(ssl.socket(), server_hostname=host) as connection:
            connection.connect((host, int(port)))
            return connection.version(), connection.cipher()

    if agreed(ours) != agreed(theirs):
        raise Invalid(f"the engine speaks {agreed(ours)}, nginx {agreed(theirs)}")
    print(f"  {' '.join(map(str, agreed(ours)[1]))}", flush=True)


def cpu_line(name, ours, theirs):
    warm = slice(1, None)
    return finish(
        Line(name, "s/million", ours.cpu[warm], theirs.cpu[warm], "nginx 202", 2, reach=CPU)
    )


def at_the_limit(acks, away):
    """With few connections: over nginx, and over connections / (a sync + nginx's answer)."""
    syncs = []

    def sync_rate():
        took = disk.sync_latencies(acks.settings.folder, acks.settings.seconds / 2)
        syncs.append(statistics.median(took))
        return 1 / syncs[-1]

    name = f"acks, {FEW} connections"
    _, theirs, figures, line = acks.compare(name, FEW, also={"fdatasync": sync_rate}, **away)
    waits = zip(syncs[1:], theirs.mean[1:], strict=True)
    limits = [FEW / (sync + answer) for sync, answer in waits]
    reach = (at_least(0.7),)
    limit = Line(name, "1/s", figures["engine"], limits, "sync, then nginx", reach=reach)
    return [line, finish(limit)]


def measure(settings):
    acks = Acks(settings)
    away = {"DATABASE_URL": engines.no_store()}
    ours, theirs, _, many = acks.compare(
        "acks, 256 connections", 256, reach=(at_least(0.85),), **away
    )
    lines = [many, cpu_line("CPU, acknowledging", ours, theirs)]
    lines.append(acks.compare("acks, 64 connections", 64, **away)[-1])
    lines += at_the_limit(acks, away)
    reach = (at_least(0.8),)
    lines.append(acks.compare("acks, 256, TLS", 256, reach=reach, tls=True, **away)[-1])
    ours, theirs, _, forwarding = acks.compare("acks, 256, forwarding", 256)
    return [*lines, forwarding, cpu_line("CPU, forwarding too", ours, theirs)]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"acks": measure}))
