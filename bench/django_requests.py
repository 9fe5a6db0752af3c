"""What the client adds to the requests of a Django app under gunicorn, at half the rate that it
sustains alone, while the engine is being killed and revived: median and 95th percentile over those
of the same app without the client.

Twice: for a view that does next to nothing, where what the client takes is most to be felt, and for
one as products have them, with users who log in and a database.
"""

import json
import os
import subprocess
import sys
import time
from urllib.parse import urlsplit

import requests
from latency import killing
from lib import corpus, engines, postgres
from lib.load import Invalid, Load, reached
from lib.program import run
from lib.rounds import Line, at_most, finish, take_turns
from support import guard, ports
from support.paths import ROOT

PYTHON = ROOT / ".venv-client/bin/python"
GUNICORN = ROOT / ".venv-client/bin/gunicorn"
APP = ROOT / "bench/django_app.py"
PATH = "/visit/penn-labs/"
USER_TOKEN = "of-a-measurement"  # as in APP
# One process, so that a core is left for the load, and for the engine that is killed and revived.
WORDS = ["--workers", "1", "-k", "gthread", "--threads", "4", "--keep-alive", "75"]
CONNECTIONS = 8
TRANSACTIONS = 2  # of a request: one of the middleware, one of the decorator


def environment(store):
    """Of a process that runs APP. `store`: its database, or None."""
    paths = [ROOT / "clients/python/src", ROOT / "bench"]
    made = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    for name in ("LABS_ANALYTICS", "STORE"):
        made.pop(name, None)
    return made if store is None else made | {"STORE": json.dumps(store)}


def filled_store(settings):
    """A database of PostgreSQL with what APP wants in it, as Django's DATABASES have it."""
    server = postgres.start(settings)
    url = urlsplit(server.url())
    store = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": url.hostname,
        "PORT": url.port,
        "NAME": url.path.removeprefix("/"),
        "USER": url.username,
        "PASSWORD": url.password,
        "CONN_MAX_AGE": 600,
    }
    subprocess.run([PYTHON, APP], env=environment(store), check=True)
    return store


class App:
    """The app of django_app.py; with `engine`, it records there, with `store` it is a product's."""

    def __init__(self, settings, name, store, engine=None):
        self.settings = settings
        self.url = f"http://127.0.0.1:{ports.take()}"
        self.log = settings.folder / f"{name}.log"
        variables = environment(store)
        if engine is not None:
            given = {"URL": engine.url, "TOKEN": engine.token(), "PRODUCT": "CLUBS"}
            # After several deaths in a row the client pauses for up to 30 s: at this rate that is
            # more than fits its default queue, and a loss would tell of nothing but that bound.
            given |= {"QUEUE_COUNT": 200_000, "EXIT_TIMEOUT": 30}
            variables["LABS_ANALYTICS"] = json.dumps(given)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [GUNICORN, "--bind", self.url.removeprefix("http://"), *WORDS, "django_app"],
                cwd=settings.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        guard.watch(self.process)
        settings.stack.callback(self.end)
        self._wait()

    def _wait(self):
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            try:
                requests.get(self.url, timeout=5)
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise Invalid(f"gunicorn does not answer:\n{self.log.read_text()[-2000:]}")

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            if self.process.wait(60) != 0:
                raise Invalid(f"gunicorn ended badly:\n{self.log.read_text()[-2000:]}")

    def load(self, bodies, seconds, rate=0):
        """wrk's result, and the seconds of the cores that the app took for it."""
        processes = engines.with_children(self.process.pid)
        before = engines.cpu_seconds(processes)
        result = Load(self.url, PATH, USER_TOKEN, bodies, CONNECTIONS).run(seconds, rate)
        return result | {"cpu": engines.cpu_seconds(processes) - before}


class Mortal:
    """The engine, as killing() wants it."""

    def __init__(self, engine):
        self.kill = engine.kill9
        self._engine = engine

    def start(self):
        if not self._engine.running:
            self._engine.start()


def check_arrival(app, engine, answered, rounds):
    """Nothing was lost and nothing came twice: wrk leaves its last requests of a round unread."""
    app.end()
    accepted = engine.status()["transactions"]["accepted"]
    least, most = (TRANSACTIONS * n for n in (answered, answered + rounds * CONNECTIONS))
    if not least <= accepted <= most:
        told = app.log.read_text()[-2000:]
        raise Invalid(f"{accepted} transactions arrived, not {least} to {most}:\n{told}")
    print(f"  {accepted} transactions of {answered} requests arrived", flush=True)


def compare(settings, title, store=None):
    bodies = corpus.write(corpus.transactions(2000), settings.folder / "transactions")
    engine = engines.start(settings, f"{title} engine", listen=f"127.0.0.1:{ports.take()}")
    alone = App(settings, f"{title} alone", store)
    recording = App(settings, f"{title} recording", store, engine)
    alone.load(bodies, 1)
    sustained = alone.load(bodies, settings.seconds)
    rate = sustained["requests"] / sustained["seconds"] / 2
    print(f"  {title}: half of what it sustains alone: {rate:.0f} requests a second", flush=True)
    p95 = {"recording": [], "alone": []}
    cpu = {"recording": [], "alone": []}
    answered = []

    def side(name, app):
        # The engine dies beside both: what its starts take of the cores is not the client's.
        with killing(Mortal(engine)):
            result = app.load(bodies, settings.seconds, rate)
        good = reached(result, rate)
        p95[name].append(result["p95"] * 1000 if good else None)
        cpu[name].append(result["cpu"] / result["requests"] * 1000)
        if name == "recording":
            answered.append(result["requests"])
        return result["p50"] * 1000 if good else None

    p50 = take_turns(
        settings,
        {
            "recording": lambda: side("recording", recording),
            "alone": lambda: side("alone", alone),
        },
    )
    check_arrival(recording, engine, sum(answered), len(answered))
    name, unfelt = "without the client", (at_most(1.05),)
    p95, cpu = ([a["recording"][1:], a["alone"][1:]] for a in (p95, cpu))  # the first warmed up
    lines = [
        Line(f"{title}, median", "ms", p50["recording"], p50["alone"], name, 3, unfelt),
        Line(f"{title}, p95", "ms", *p95, name, 3, unfelt),
        Line(f"{title}, CPU", "ms", *cpu, name, 3),
    ]
    return [finish(line) for line in lines]


def measure(settings):
    return compare(settings, "Django") + compare(settings, "Django product", filled_store(settings))


if __name__ == "__main__":
    sys.exit(run(__doc__, {"django_requests": measure}))
