"""Django with DRF under gunicorn, and the real engine: what users do is in the store, once."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import requests
from support import guard, ports
from support.wait import wait_until

HERE = Path(__file__).resolve().parent
GUNICORN = Path(sys.executable).parent / "gunicorn"
RULES = [
    {"url_name": "clubs:detail", "methods": ["GET"], "key": "club.visit", "argument": "code"},
    {"url_name": "broken", "status": "5xx", "key": "broken"},
]


class Server:
    """The project under gunicorn, with two workers."""

    def __init__(self, folder, engine, *words, **settings):
        self.url = f"http://127.0.0.1:{ports.take()}"
        self.log = folder / "gunicorn.log"
        given = {"URL": engine.url, "TOKEN": engine.token(), "PRODUCT": "CLUBS", "RULES": RULES}
        given |= {"BATCH_AGE": 0.05, "RETRY_MIN": 0.02, "RETRY_MAX": 0.2, "EXIT_TIMEOUT": 10}
        environment = os.environ | {
            "LABS_ANALYTICS": json.dumps(given | settings),
            "DJANGO_SETTINGS_MODULE": "django_project.settings",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        bind = self.url.removeprefix("http://")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [GUNICORN, "--bind", bind, "--workers", "2", *words, "django_project.wsgi"],
                cwd=HERE,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        guard.watch(self.process)
        wait_until(lambda: self.status("/plain/") == 200, what=self.log.read_text)

    def ask(self, path, method="GET", **headers):
        return requests.request(method, self.url + path, headers=headers, timeout=30)

    def status(self, path):
        try:
            return self.ask(path).status_code
        except requests.ConnectionError:
            return None

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


@pytest.fixture
def servers(tmp_path):
    made = []

    def serve(engine, *words, **settings):
        made.append(Server(tmp_path, engine, *words, **settings))
        return made[-1]

    yield serve
    for server in made:
        server.kill()


def use(server, start, count):
    """What `count` users do; gives {(datapoint, value, user): how often it is to be stored}."""
    expected = Counter()
    for number in range(start, start + count):
        user = f"user{number}"
        assert server.ask(f"/clubs/club-{number}/", **{"X-User": user}).status_code == 200
        expected["club.visit", f"club-{number}", None] += 1
        assert server.ask(f"/clubs/{number}/review/", **{"X-User": user}).status_code == 200
        expected["clubs.review.get", "1", user] += 1
        # Its entry's get_value fails: there are no stars in the request.
        assert server.ask(f"/clubs/{number}/review/", "POST", **{"X-User": user}).ok
        expected["clubs.review.post", "1", user] += 1
        assert server.ask(f"/api/events/{number}/", **{"X-User": user}).status_code == 200
        expected["event_detail.club.get", str(number), user] += 1
        assert server.ask("/broken/").status_code == 500
        expected["broken", "1", None] += 1
    return expected


def stored(engine):
    engine.wait_until_stored()
    rows = engine.query("SELECT product, datapoint, value, pennkey FROM event")
    assert {row["product"] for row in rows} <= {"CLUBS"}
    return Counter((row["datapoint"], row["value"], row["pennkey"]) for row in rows)


@pytest.mark.parametrize("words", [[], ["--preload"], ["-k", "gthread", "--threads", "4"]], ids=str)
def test_what_users_do_is_stored_once_while_the_engine_is_killed(engines, servers, words):
    engine = engines(listen=f"127.0.0.1:{ports.take()}")
    server = servers(engine, *words)
    expected = use(server, 0, 10)
    engine.kill9()
    expected += use(server, 10, 10)
    engine.start()
    expected += use(server, 20, 10)
    server.end()
    assert stored(engine) == expected


def test_what_waits_when_the_server_ends_is_in_the_spool_of_the_next(engines, servers, tmp_path):
    engine = engines(listen=f"127.0.0.1:{ports.take()}")
    options = {"SPOOL_DIR": str(tmp_path / "spool"), "EXIT_TIMEOUT": 0.1}
    server = servers(engine, **options)
    engine.kill9()
    expected = use(server, 0, 5)
    server.end()
    engine.start()
    server = servers(engine, **options)
    expected += use(server, 5, 5)
    # Whichever worker sends has looked into the spool before.
    engine.wait_until(lambda: stored(engine).total() >= expected.total())
    server.end()
    assert stored(engine) == expected


def test_a_product_serves_with_settings_that_are_wrong(engine, servers):
    server = servers(engine, RULES="none", KEYS="la_wrong")
    use(server, 0, 2)
    server.end()
    assert engine.counts()["accepted"] == 0
