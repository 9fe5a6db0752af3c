"""The end of a program: what is queued is sent, and nothing is printed."""

import subprocess
import sys
import textwrap
import threading

import pytest
from scripted import accept, status


def run(code, url, **options):
    """Runs it in Python's development mode, where unclosed files and sockets are told too."""
    beginning = f"""
        import atexit, os, sys, threading
        from labs_analytics import AnalyticsClient
        client = AnalyticsClient({url!r}, key="la_test", product=10, **{options!r})
    """
    words = [sys.executable, "-X", "dev", "-c"]
    program = textwrap.dedent(beginning) + textwrap.dedent(code)
    return subprocess.run([*words, program], capture_output=True, text=True, timeout=60)


ENDS = {
    "falls off its end": "",
    "exits": "sys.exit(0)",
    "closes": "client.close()",
    "has flushed": "client.flush()",
    "records at its end": "atexit.register(lambda: client.record('n', 10))",
    "has a thread that records": """
        def more():
            for number in range(10, 20):
                client.record("n", number)
        threading.Thread(target=more).start()
    """,
    "has a daemon that records": """
        def more():
            while True:
                client.record("other", 1)
        threading.Thread(target=more, daemon=True).start()
    """,
    "forks": """
        import warnings
        warnings.simplefilter("ignore")  # newer Pythons warn of every fork beside a thread
        if os.fork() == 0:
            client.record("child", 1)
            sys.exit(0)
        os.wait()
    """,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_sends_what_it_has_queued_and_ends_quietly(scripted, end):
    server = scripted()
    code = "for number in range(10): client.record('n', number)\n" + textwrap.dedent(ENDS[end])
    done = run(code, server.url, batch_age=3600)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    transactions = [one for request in server.requests for one in request.transactions]
    values = [one["data"][0]["value"] for one in transactions if one["data"][0]["key"] == "n"]
    assert [value for value in values if value < 10] == list(range(10))
    later = {"has a thread that records": 10, "records at its end": 1}.get(end, 0)
    assert [value for value in values if value >= 10] == list(range(10, 10 + later))
    if end == "forks":
        assert [one["data"][0]["key"] for one in transactions].count("child") == 1


@pytest.mark.parametrize("before", [[], [0]])
def test_a_handler_of_before_the_first_event_records_at_the_end(scripted, before):
    server = scripted()
    code = f"""
        atexit.register(lambda: client.record("n", 1))
        for number in {before}: client.record("n", number)
    """
    done = run(code, server.url, batch_age=3600)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.accepted == [*before, 1]


def test_what_multiprocessing_does_at_the_end_comes_after_the_handlers_of_the_program(scripted):
    server = scripted()
    code = """
        atexit.register(lambda: client.record("n", 2))
        import multiprocessing.util  # its handler is registered later, and so runs before that one
        client.record("n", 1)
    """
    done = run(code, server.url, batch_age=3600)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.accepted == [1, 2]


def test_a_child_that_is_forked_while_an_answer_is_read_waits_for_nothing(scripted):
    release = threading.Event()
    server = scripted(lambda request: (*accept(request), {}, release))
    code = """
        import socket, warnings
        warnings.simplefilter("ignore")
        reads, readinto = [], socket.SocketIO.readinto
        def counted(self, buffer):
            reads.append(1)
            return readinto(self, buffer)
        socket.SocketIO.readinto = counted
        client.record("n", 1)
        while len(reads) < 2: pass  # of the headers, and of the body, which does not come
        if os.fork() == 0:
            client.record("child", 2)
            sys.exit(0)
        _, code = os.wait()
        os._exit(code)
    """
    try:
        done = run(code, server.url, batch_age=0)
        assert (done.returncode, done.stderr) == (0, "")
        assert server.accepted == [1, 2]
    finally:
        release.set()


def test_an_engine_that_is_away_does_not_hold_a_program_up_nor_make_it_talk(scripted):
    done = run("client.record('n', 1)", "http://127.0.0.1:1", exit_timeout=0.1)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_engine_that_is_silent_does_not_either(scripted):
    release = threading.Event()
    server = scripted(default=lambda request: (release.wait(60), accept(request))[1])
    done = run(
        "client.record('n', 1)\nwhile not client.stats().requests: pass",
        server.url,
        exit_timeout=0.1,
        batch_age=0,
    )
    release.set()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_fails_shows_its_own_fault_only(scripted):
    server = scripted()
    done = run("client.record('n', 1)\nraise SystemExit('mine')", server.url)
    assert (done.returncode, done.stderr) == (1, "mine\n")
    assert server.accepted == [1]


def test_a_client_that_was_never_used_starts_nothing(scripted):
    server = scripted()
    done = run("print(threading.active_count(), 'ssl' in sys.modules)", server.url)
    assert done.stdout.startswith("1 ") and done.stderr == ""
    assert server.connections == 0


def test_the_thread_imports_nothing(scripted, tmp_path):
    """A process that forks during an import leaves a child that cannot finish it."""
    server = scripted()
    code = """
        before = set(sys.modules)
        for number in range(100): client.record("n", number)
        assert client.flush()
        print(sorted(set(sys.modules) - before))
    """
    done = run(code, server.url, spool_dir=str(tmp_path))
    assert (done.stdout, done.stderr) == ("[]\n", "")


INTERRUPTED = """
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    other = AnalyticsClient({url!r} + "/other", key="la_test", **{more!r})
    for number in range(10):
        client.record("n", number, product=10)
        other.record("n", number, product=10)
    while not (client.stats().requests and other.stats().requests): pass
    join = threading.Thread.join
    def interrupted(thread, timeout=None):
        if thread.name == "labs-analytics" and not done:
            done.append(1)
            # While it waits: Python 3.11 then takes the thread for one that has ended.
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return join(thread, timeout)
    done = []
    threading.Thread.join = interrupted
"""


def test_a_signal_while_the_end_waits_costs_nothing_that_the_spool_can_take(scripted, tmp_path):
    release = threading.Event()
    server = scripted(default=lambda request: (release.wait(60), accept(request))[1])
    options = {"spool_dir": str(tmp_path / "spool"), "exit_timeout": 30, "batch_age": 0}
    code = INTERRUPTED.format(url=server.url, more=options)
    try:
        run(code, server.url, **options)
    finally:
        release.set()
    spooled = [path.read_bytes().count(b"\n") for path in tmp_path.glob("spool/*/*.batch")]
    assert sum(spooled) == 20


def test_what_is_left_at_the_end_goes_to_the_spool(scripted, clients, tmp_path):
    server = scripted(default=status(503, Retry_After=3600))
    spool = str(tmp_path / "spool")
    code = "for number in range(10): client.record('n', number)"
    done = run(code, server.url, spool_dir=spool, exit_timeout=0.1, batch_age=3600)
    assert (done.returncode, done.stderr) == (0, "")
    server.requests.clear()
    server._default = accept
    client = clients(server.url, spool_dir=spool)
    client.record("n", 10)
    assert client.flush()
    assert client.close()
    assert sorted(server.accepted) == list(range(11))
