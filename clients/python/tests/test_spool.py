"""What cannot be sent waits on disk, for this process or another."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import textwrap
from collections import Counter

import pytest
from scripted import accept, status
from support import guard, ports
from support.wait import wait_until

from labs_analytics.spool import BLOCK, LEFT_BEHIND_S, Spool

AWAY = {"retry_min": 0.01, "retry_max": 0.05}


@pytest.fixture
def spools(tmp_path):
    def make(unique="one", most_bytes=10 * BLOCK, address="a", product="10"):
        return Spool(str(tmp_path / "spool"), address, product, most_bytes, unique)

    return make


def files(tmp_path, ending=".batch"):
    return sorted(tmp_path.glob(f"spool/*/*{ending}"))


# -- the folder


def test_batches_come_back_oldest_first(spools):
    spool = spools()
    for line in (b"1", b"2", b"3"):
        assert spool.put([line, b"x"])
    found = []
    while claim := spool.claim():
        found.append(claim.lines)
        claim.remove()
    assert found == [[b"1", b"x"], [b"2", b"x"], [b"3", b"x"]]
    assert spool.size() == 0


def test_a_claimed_batch_is_nobody_elses_until_it_is_released(spools):
    one, other = spools("one"), spools("other")
    one.put([b"1"])
    claim = one.claim()
    assert other.claim() is None
    claim.release()
    second = other.claim()
    assert second.lines == [b"1"]
    second.remove()
    assert one.claim() is None


def test_a_batch_that_could_not_be_opened_is_found_again_and_counts_all_the_while(
    spools, monkeypatch
):
    spool = spools()
    spool.put([b"1"])

    def no_more_files(*_):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("os.open", no_more_files)
        assert spool.claim() is None
        assert spool.size() == BLOCK
    assert spool.claim().lines == [b"1"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EIO])
def test_a_batch_that_cannot_be_read_is_told_once_and_takes_no_room(
    spools, monkeypatch, caplog, code
):
    spool = spools(most_bytes=BLOCK)
    spool.put([b"1"])
    real = os.open

    def refused(path, *more):
        if str(path).endswith(".batch"):
            raise OSError(code, os.strerror(code))
        return real(path, *more)

    with monkeypatch.context() as patch:
        patch.setattr("os.open", refused)
        for _ in range(2):
            assert spool.claim() is None
        assert spool.size() == 0
        assert spool.put([b"2"])
    assert ["cannot be read" in record.message for record in caplog.records] == [True]
    assert [spool.claim().lines, spool.claim().lines] == [[b"1"], [b"2"]]
    assert spool.size() == 2 * BLOCK


def test_a_batch_that_may_be_read_but_not_written_is_sent(spools, monkeypatch):
    spool = spools()
    spool.put([b"1"])
    real = os.open

    def guarded(path, flags, *more):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "may be read only")
        return real(path, flags, *more)

    monkeypatch.setattr("os.open", guarded)
    assert spool.claim().lines == [b"1"]


def test_a_folder_that_knows_no_locks_is_told_once_and_keeps_its_batches(
    spools, monkeypatch, caplog
):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    spool = spools()
    spool.put([b"1"])
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", no_locks)
        for _ in range(2):
            assert spool.claim() is None
    assert ["No locks available" in record.message for record in caplog.records] == [True]
    assert spool.claim().lines == [b"1"]


def test_a_batch_is_opened_so_that_nfs_can_lock_it(spools):
    """There an exclusive lock needs a file that is open for writing."""
    spool = spools()
    spool.put([b"1"])
    claim = spool.claim()
    assert fcntl.fcntl(claim._descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    claim.release()


def test_the_folder_is_not_looked_through_for_each_batch(spools, monkeypatch):
    spool, looks = spools(most_bytes=100 * BLOCK), []
    for number in range(50):
        spool.put([b"%d" % number])
    look = os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: (looks.append(folder), look(folder))[1])
    for number in range(50):
        claim = spool.claim()
        assert claim.lines == [b"%d" % number]
        claim.remove()
    assert len(looks) == 1


def test_the_bound_holds_for_all_processes_and_counts_blocks(spools):
    one, other = spools("one", 3 * BLOCK), spools("other", 3 * BLOCK)
    assert one.put([b"1"]) and other.put([b"x" * BLOCK])
    assert one.size() == 2 * BLOCK + 1
    assert not one.put([b"3"])
    other.claim().remove()
    assert one.put([b"3"])


def test_other_addresses_and_products_have_folders_of_their_own(spools):
    spools().put([b"1"])
    assert spools(address="b").claim() is None
    assert spools(product="11").claim() is None
    assert spools("other").claim() is not None


def test_only_the_owner_may_read_it(spools, tmp_path):
    spools().put([b"1"])
    (path,) = files(tmp_path)
    for one, mode in ((path, 0o600), (path.parent, 0o700), (path.parent.parent, 0o700)):
        assert stat.S_IMODE(one.stat().st_mode) == mode


def test_what_is_no_batch_is_let_be(spools, tmp_path):
    spool = spools()
    spool.put([b"1"])
    folder = files(tmp_path)[0].parent
    for name in ("README", "1.batch.unfinished", "x.batch", "1-x-9.batch.bak"):
        (folder / name).write_text("x")
    assert spool.claim().lines == [b"1"]
    assert spool.size() == BLOCK


def test_what_a_dying_writer_has_left_is_removed_when_it_is_old(spools, tmp_path):
    spool = spools()
    spool.put([b"1"])
    folder = files(tmp_path)[0].parent
    for name, age in (("old", LEFT_BEHIND_S + 60), ("new", 0)):
        file = folder / f"{name}.unfinished"
        file.write_text("half")
        when = file.stat().st_mtime - age
        os.utime(file, (when, when))
    spool.tidy()
    assert [path.name for path in files(tmp_path, ".unfinished")] == ["new.unfinished"]
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (b"", []),
        (b"\0" * 100, []),
        (b"1", []),
        (b'{"a":1}\n{"b"', [b'{"a":1}']),
        (b'{"a":1}\n\n \n', [b'{"a":1}']),
        (b"\n", []),
    ],
    ids=["empty", "zeros", "no line", "torn", "blank lines", "nothing else"],
)
def test_a_damaged_batch_is_set_aside_and_what_is_whole_of_it_is_sent(
    spools, tmp_path, caplog, content, whole
):
    spool = spools()
    spool.put([b"1", b"2"])
    (path,) = files(tmp_path)
    path.write_bytes(content)
    claim = spool.claim()
    assert claim.lines == whole
    claim.remove()
    assert files(tmp_path) == []
    assert [one.read_bytes() for one in files(tmp_path, ".damaged")] == [content]
    assert ["is damaged" in record.message for record in caplog.records] == [True]
    assert spool.claim() is None and spool.size() == 0


def test_what_is_damaged_makes_room_the_oldest_first(spools, tmp_path):
    spool = spools(most_bytes=4 * BLOCK)
    for number in range(3):
        spool.put([b"%d" % number])
    for path in files(tmp_path):
        path.write_bytes(b"torn")
    while (claim := spool.claim()) is not None:
        claim.remove()
    oldest, middle, newest = files(tmp_path, ".damaged")
    assert spool.put([b"x"])
    assert files(tmp_path, ".damaged") == [oldest, middle, newest]
    assert spool.put([b"x"])
    assert files(tmp_path, ".damaged") == [middle, newest]
    assert not spool.put([b"x" * 3 * BLOCK])  # in vain
    assert files(tmp_path, ".damaged") == [middle, newest]
    assert spool.put([b"x"]) and spool.put([b"x"])
    assert files(tmp_path, ".damaged") == [] and len(files(tmp_path)) == 4


@pytest.mark.parametrize(("content", "call"), [(b"1\n", "os.unlink"), (b"1\n2", "os.rename")])
def test_a_batch_that_cannot_be_removed_is_claimed_once(
    spools, tmp_path, monkeypatch, caplog, content, call
):
    spool = spools()
    spool.put([b"1"])
    (path,) = files(tmp_path)
    path.write_bytes(content)

    def refused(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(call, refused)
        spool.claim().remove()
        assert [spool.claim(), spool.claim()] == [None, None]
    assert ["cannot be removed" in record.message for record in caplog.records] == [True]
    others = spools("another").claim()
    assert others.lines == [b"1"]
    others.release()
    assert spool.claim() is None
    assert files(tmp_path) == []


# -- the client


def adds_up(stats):
    return stats.submitted == stats.accepted + stats.spooled - stats.unspooled + stats.queued


def test_what_cannot_be_sent_is_on_disk_and_sent_by_the_next_client(scripted, clients, tmp_path):
    server = scripted(default=status(503))
    first = clients(server.url, spool_dir=tmp_path / "spool")
    for number in range(10):
        first.record("n", number)
    assert first.flush()
    stats = first.stats()
    assert (stats.spooled, stats.queued) == (10, 0)
    assert first.close()
    server._default = accept
    server.requests.clear()
    second = clients(server.url, spool_dir=str(tmp_path / "spool"))
    second.record("n", 10)
    wait_until(lambda: second.stats().accepted == 11)
    assert sorted(server.accepted) == list(range(11))
    assert second.stats().unspooled == 10
    wait_until(lambda: not files(tmp_path))


def test_the_same_client_sends_what_it_has_put_away(scripted, clients, tmp_path):
    server = scripted(*[status(503)] * 3)
    client = clients(server.url, spool_dir=tmp_path / "spool", **AWAY)
    for number in range(5):
        client.record("n", number)
    wait_until(lambda: client.stats().accepted == 5)
    wait_until(lambda: adds_up(client.stats()))
    wait_until(lambda: not files(tmp_path))


def test_a_spool_that_is_sent_lets_the_queue_have_its_turn(scripted, clients, tmp_path):
    server = scripted(default=status(503))
    first = clients(server.url, spool_dir=tmp_path / "spool", batch_count=1)
    for number in range(20):
        first.record("n", number)
    assert first.flush() and first.close()
    assert len(files(tmp_path)) == 20
    server.requests.clear()
    server._default = accept
    second = clients(server.url, spool_dir=tmp_path / "spool")
    second.record("n", "new")
    wait_until(lambda: second.stats().accepted == 21)
    assert server.accepted.index("new") <= 1


def test_a_full_spool_leaves_the_rest_in_memory(scripted, clients, tmp_path):
    server = scripted(default=status(503))
    client = clients(
        server.url, spool_dir=tmp_path / "spool", spool_bytes=BLOCK, batch_count=1, **AWAY
    )
    for number in range(3):
        client.record("n", number)
    wait_until(lambda: client.stats().spooled == 1 and client.stats().failures >= 3)
    assert client.stats().queued == 2
    server._default = accept
    wait_until(lambda: client.stats().accepted == 3)
    assert client.stats().queued == 0


def test_a_disk_that_cannot_leaves_everything_in_memory(scripted, clients, tmp_path):
    (tmp_path / "spool").write_text("a file where the folder should be")
    server = scripted(status(503), status(503))
    client = clients(server.url, spool_dir=tmp_path / "spool", **AWAY)
    client.record("n", 1)
    assert client.flush()
    stats = client.stats()
    assert (stats.accepted, stats.spooled) == (1, 0)


def test_what_a_close_leaves_goes_to_the_spool(scripted, clients, tmp_path):
    server = scripted(default=status(503, Retry_After=3600))
    client = clients(server.url, spool_dir=tmp_path / "spool", batch_age=3600)
    for number in range(10):
        client.record("n", number)
    assert client.close(0)
    stats = client.stats()
    assert (stats.spooled, stats.queued, stats.dropped_overdue) == (10, 0, 0)
    assert sum(path.read_bytes().count(b"\n") for path in files(tmp_path)) == 10


def test_a_file_that_is_no_batch_of_ours_is_given_up_and_stops_nothing(scripted, clients, tmp_path):
    def only_json(request):
        try:
            return accept(request)
        except ValueError:
            return status(400)(request)

    server = scripted(default=only_json)
    told = []
    client = clients(server.url, spool_dir=tmp_path / "spool", on_drop=lambda *a: told.append(a))
    client.record("n", 1)
    assert client.flush()
    client._worker._spool.put([b"no JSON", b'{"data": 5}'])
    client._worker._spool_has_more = True
    client.record("n", 2)
    wait_until(lambda: not files(tmp_path))
    assert client.flush()
    assert (client.stats().accepted, client.stats().refused) == (3, 1)
    assert told == []


def test_a_damaged_batch_is_no_sign_that_the_engine_answers(scripted, clients, tmp_path, caplog):
    server = scripted(default=status(503))
    client = clients(server.url, spool_dir=tmp_path / "spool", **AWAY)
    client.record("n", 1)
    assert client.flush()
    client.close()
    for path in files(tmp_path):
        path.write_bytes(b"")
    second = clients(server.url, spool_dir=tmp_path / "spool", **AWAY)
    second.record("n", 2)
    wait_until(lambda: second.stats().failures >= 2)
    assert files(tmp_path, ".damaged")
    assert not any("again" in record.message for record in caplog.records)


def test_a_batch_of_which_a_part_is_settled_is_put_back_without_it(scripted, clients, tmp_path):
    server = scripted(default=status(503))
    first = clients(server.url, spool_dir=tmp_path / "spool", batch_age=3600)
    for number in range(4):
        first.record("n", number)
    assert first.flush() and first.close()
    server.requests.clear()
    server._answers = [status(413), accept, status(503)]
    server._default = accept
    second = clients(server.url, spool_dir=tmp_path / "spool", **AWAY)
    second.record("n", 4)
    wait_until(lambda: second.stats().accepted == 5)
    assert [len(request.transactions) for request in server.requests][:4] == [4, 2, 2, 2]
    wait_until(lambda: adds_up(second.stats()))
    wait_until(lambda: not files(tmp_path))


SUBMITTER = """
    import os, sys, time
    from labs_analytics import AnalyticsClient
    url, token, spool, first = sys.argv[1:]
    client = AnalyticsClient(url, token=token, product=10, spool_dir=spool, batch_age=0.02)
    for number in range(int(first), int(first) + 100):
        assert client.record("n", number)
    assert client.flush()
    print(client.stats().spooled, client.stats().accepted, flush=True)
    if client.stats().spooled:
        os.kill(os.getpid(), 9)
"""


def test_the_spool_survives_its_process_and_is_sent_by_the_next(engines, tmp_path):
    engine = engines(listen=f"127.0.0.1:{ports.take()}")
    token = engine.token()
    engine.stop()

    def submit(first):
        code = textwrap.dedent(SUBMITTER)
        words = [sys.executable, "-c", code, engine.url, token, str(tmp_path / "spool"), first]
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60)

    killed = submit(0)
    assert (killed.stdout, killed.returncode) == ("100 0\n", -9), killed.stderr
    engine.start()
    submit(100)
    engine.wait_until(lambda: engine.counts()["accepted"] == 200)
    engine.wait_until_stored()
    rows = engine.query("SELECT value FROM event")
    assert Counter(row["value"] for row in rows) == Counter({str(n): 1 for n in range(200)})
    assert not files(tmp_path)


PROMISER = """
    import itertools, sys
    from labs_analytics import AnalyticsClient
    url, token, spool, name = sys.argv[1:]
    options = {"batch_age": 0.005, "retry_min": 0.01, "retry_max": 0.05, "spool_dir": spool}
    client = AnalyticsClient(url, token=token, product=10, **options)
    for number in itertools.count():
        assert client.record("n", f"{name}-{number}")
        if client.flush(60):
            print(f"{name}-{number}", flush=True)
"""


class Promiser:
    """A process that records all the while and prints what is accepted or on disk."""

    def __init__(self, folder, engine, token, name):
        self.out = folder / f"{name}.out"
        words = [sys.executable, "-c", textwrap.dedent(PROMISER)]
        words += [engine.url, token, str(folder / "spool"), name]
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out)
        guard.watch(self.process)

    def promised(self):
        return self.out.read_text().split("\n")[:-1]

    def goes_on(self):
        known = len(self.promised())
        wait_until(lambda: len(self.promised()) >= known + 10, timeout=60)

    def kill(self):
        self.process.kill()
        self.process.wait()


def test_processes_that_share_a_spool_and_are_killed_keep_what_they_have_promised(
    engines, clients, tmp_path
):
    engine = engines(listen=f"127.0.0.1:{ports.take()}")
    token = engine.token()
    all_of_them = []
    try:
        for generation in range(3):
            three = [Promiser(tmp_path, engine, token, f"{generation}-{n}") for n in range(3)]
            all_of_them += three
            for one in three:
                one.goes_on()
            engine.kill9()
            for one in three:
                one.goes_on()
            three[0].kill()
            engine.start()
            three[1].goes_on()
            for one in three[1:]:
                one.kill()
    finally:
        for one in all_of_them:
            one.kill()
    last = clients(engine.url, token=token, spool_dir=tmp_path / "spool")
    assert last.record("n", "last")
    wait_until(lambda: not files(tmp_path), timeout=60)
    assert last.flush(30)
    engine.wait_until_stored()
    stored = Counter(row["value"] for row in engine.query("SELECT value FROM event"))
    assert set(stored.values()) == {1}
    assert set(stored) >= {value for one in all_of_them for value in one.promised()}
