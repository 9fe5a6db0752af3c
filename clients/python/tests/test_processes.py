"""Processes as they are in production: each with the real server program.

The server that takes what they send sees every transaction, also one that the engine would
recognise as a repeat: a child that sends what its parent has queued is found.
"""

import collections
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from scripted import accept
from support import guard, ports
from support.wait import wait_until

PROGRAMS = Path(__file__).resolve().parent / "programs"
BIN = Path(sys.executable).parent


# Without what the tests of Django in this same process have set: Celery would take it up.
INHERITED = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}


class Program:
    """A process whose stdout and stderr are kept in files."""

    def __init__(self, folder, words, **environment):
        folder.mkdir(exist_ok=True)
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                list(map(str, words)),
                cwd=PROGRAMS,
                env=INHERITED | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        guard.watch(self.process)

    def said(self):
        return self.out.read_text() + self.err.read_text()

    def wait(self, timeout=60):
        return self.process.wait(timeout)

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


@pytest.fixture
def programs(tmp_path):
    made = []

    def run(*words, **environment):
        made.append(Program(tmp_path / f"program-{len(made)}", words, **environment))
        return made[-1]

    yield run
    for program in made:
        program.kill()


def sent(server):
    """{(key, value): how often}; no id came twice."""
    transactions = [one for request in server.requests for one in request.transactions]
    ids = collections.Counter(one["id"] for one in transactions)
    assert set(ids.values()) <= {1}, ids.most_common(3)
    return collections.Counter(
        (point["key"], str(point["value"])) for one in transactions for point in one["data"]
    )


def ask_all(url, count, enough):
    """Asks `count` times at least, and until `enough(pids)`; gives {pid: requests}."""
    pids = collections.Counter()

    def ask():
        number = sum(pids.values())
        pids[requests.get(f"{url}/?{number}", timeout=30).json()["pid"]] += 1
        return number + 1 >= count and enough(pids)

    wait_until(lambda: requests.get(f"{url}/?up", timeout=5).ok, what="the server to be up")
    wait_until(ask, what="answers of all processes", interval=0)
    return pids


def check_web_server(server, url, program, processes, loads):
    """Requests are answered by all processes; after the end each was recorded once, and so was
    every load of the application."""
    pids = ask_all(url, 40, lambda pids: len(pids) >= processes)
    program.process.send_signal(signal.SIGTERM)
    program.wait()
    found = sent(server)
    for number in range(sum(pids.values())):
        assert found.pop(("request", str(number))) == 1
    assert found.pop(("request", "up")) == 1
    if loads == 0:
        assert not found
        return
    loaded = {int(pid) for key, pid in found if key == "loaded"}
    assert sum(found.values()) == len(found) == loads
    if loads == 1:
        assert loaded == {program.process.pid}
    else:
        assert loaded >= set(pids)
    assert "Traceback" not in program.said(), program.said()


@pytest.mark.parametrize("batch_age", ["0.02", "3600"])
@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn(scripted, programs, kind, preload, batch_age):
    server, port = scripted(), ports.take()
    words = [BIN / "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", 2, "-k", kind]
    words += ["--threads", 2] if kind == "gthread" else []
    words += ["--preload"] if preload else []
    program = programs(*words, "wsgi:application", URL=server.url, BATCH_AGE=batch_age)
    url = f"http://127.0.0.1:{port}"
    check_web_server(server, url, program, 2, loads=1 if preload else 2)


@pytest.mark.parametrize("batch_age", ["0.02", "3600"])
@pytest.mark.parametrize("lazy", [False, True])
def test_uwsgi(scripted, programs, lazy, batch_age):
    server, port = scripted(), ports.take()
    words = [BIN / "uwsgi", "--http-socket", f"127.0.0.1:{port}", "--master", "--processes", 2]
    words += ["--wsgi-file", PROGRAMS / "wsgi.py", "--enable-threads"]
    # Its own answer to SIGTERM skips Python's exit handlers in workers that are still busy.
    words += ["--hook-master-start", "unix_signal:15 gracefully_kill_them_all"]
    words += ["--lazy-apps"] if lazy else []
    program = programs(*words, URL=server.url, BATCH_AGE=batch_age)
    url = f"http://127.0.0.1:{port}"
    # uWSGI's master ends without Python's exit handlers: what waits there then is lost.
    loads = 2 if lazy else 0 if batch_age == "3600" else 1
    check_web_server(server, url, program, 2, loads)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(scripted, programs, method):
    server = scripted()
    program = programs(sys.executable, "children.py", method, 3, URL=server.url)
    assert program.wait() == 0, program.said()
    wanted = {("parent", str(number)): 1 for number in range(5)}
    wanted |= {("child", str(number)): 1 for number in range(30)}
    if method == "spawn" or sys.version_info >= (3, 13):  # the others end without such handlers
        wanted |= {("at exit", str(number)): 1 for number in range(3)}
    assert sent(server) == wanted
    assert program.said() == ""


@pytest.mark.parametrize("batch_age", ["0.02", "3600"])
def test_celery_prefork(scripted, programs, tmp_path, batch_age):
    server, folder = scripted(), tmp_path / "celery"
    environment = {"URL": server.url, "BATCH_AGE": batch_age, "FOLDER": str(folder)}
    give = "import tasks\nfor number in range(40): tasks.work.delay(number)"
    given = programs(sys.executable, "-c", give, **environment)
    assert given.wait() == 0, given.said()
    words = [BIN / "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", 2]
    worker = programs(*words, "--without-gossip", "--without-mingle", **environment)
    wait_until(lambda: len(list(folder.glob("done-*"))) == 40, timeout=60, what="40 tasks")
    pids = {path.read_text() for path in folder.glob("done-*")}
    worker.process.send_signal(signal.SIGTERM)
    worker.wait()
    found = sent(server)
    assert [found.pop(("task", str(number))) for number in range(40)] == [1] * 40
    assert set(found.values()) == {1} and {key for key, _ in found} == {"loaded"}
    # Loaded by the program that gave the tasks and by the worker; its children have forked.
    assert {int(pid) for _, pid in found} == {given.process.pid, worker.process.pid}
    assert pids.isdisjoint({pid for _, pid in found})


def test_gevent(scripted, programs):
    release = threading.Event()
    server = scripted(lambda request: (release.wait(60), accept(request))[1])
    program = programs(sys.executable, "greenlets.py", URL=server.url)
    wait_until(lambda: server.requests)
    before = program.said().count("tick")
    wait_until(lambda: program.said().count("tick") > before + 3)
    release.set()
    assert program.wait() == 0, program.said()
    wanted = {("greenlet", str(number)): 1 for number in range(100)} | {("at the end", "1"): 1}
    assert sent(server) == wanted
    assert "accepted 100" in program.said()
    assert program.err.read_text() == ""


def test_what_waits_at_the_end_needs_no_thread_of_gevents(scripted, programs):
    server = scripted()
    program = programs(sys.executable, "last_greenlet.py", URL=server.url)
    assert program.wait() == 0
    assert program.said() == ""
    assert sent(server) == {("greenlet", "1"): 1}
