"""The data directory is damaged, incomplete, foreign, newer, read-only or not to be written: each
is said in one line, and what is whole is delivered or the start refused.
"""

import json
import re
import shutil
import signal
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from fault.disks import set_immutable
from support.crc32c import crc32c

LARGE = [{"key": f"key.{n}", "value": "x" * 8000} for n in range(1000)]
QUICK = {
    "SHUTDOWN_TIMEOUT": "0s",
    "FORWARD_BATCH_AGE": "20ms",
    "FORWARD_RETRY_MIN": "10ms",
    "FORWARD_RETRY_MAX": "200ms",
    "SEGMENT_BYTES": "16MiB",
}
HEADER = 64
COUNT = 24


@pytest.fixture
def full(engines, postgres):
    """An engine that is stopped with three segments in its queue, none of it delivered: {its ids:
    their number of rows}."""
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url(), **QUICK)
    ids = {}
    for turn in range(6):
        for n in range(3):
            ids[engine.accept(pennkey=f"small-{turn}-{n}", id=f"{turn}-{n}")] = 2
        ids[engine.accept(pennkey=f"large-{turn}", data=LARGE)] = 1000
    assert engine.counts()["uncompleted"] == COUNT
    engine.kill9()
    assert len(segments(engine)) == 3
    postgres.start()
    return engine, ids


def segments(engine):
    return sorted((engine.data_dir / "queue").glob("*.seg"))


def change(path, at, content):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def seal(path, header):
    """A segment's header with its checksum made right."""
    header = header[:12] + bytes(4) + header[16:]
    change(path, 0, header[:12] + struct.pack("<I", crc32c(header)) + header[16:])


def flip(path, mark):
    content = path.read_bytes()
    change(path, content.index(mark), bytes([mark[0] ^ 1]))


def lines(engine, pattern):
    return [line for line in engine.full_log.splitlines() if re.search(pattern, line)]


def does_not_start(engine, *words):
    engine.launch()
    assert engine.wait_for_exit() == 1
    said = [line for line in engine.log.splitlines() if "labs-analytics:" in line]
    assert len(said) == 1, engine.log
    for word in words:
        assert word in said[0]
    done = engine.command("verify", check=False)
    assert done.returncode == 1


def is_lost(engine, ids, lost):
    """All but these is delivered, and everything is accounted for, over restarts too."""
    for turn in range(3):
        counts = engine.wait_until_stored()
        assert counts["damaged"] == len(lost), counts
        assert counts["accepted"] == counts["successful"] == len(ids) - len(lost)
        if turn == 0:
            engine.stop()
        elif turn == 1:
            engine.kill9()
        if turn < 2:
            engine.start()
    assert engine.stored_ids() == {own: rows for own, rows in ids.items() if own not in lost}
    for own in lost:
        assert engine.get(f"/v1/transactions/{own}").status_code == 404
    metrics = engine.metrics()
    assert metrics["labs_analytics_queue_damaged_transactions"] == len(lost)
    engine.accept()
    engine.wait_until_stored()


def test_flipped_bits_are_set_aside_and_everything_else_is_delivered(full):
    engine, ids = full
    damaged = segments(engine)[:2]
    flip(damaged[0], b"small-0-1")
    flip(damaged[1], b"large-2")
    done = engine.command("verify", check=False)
    assert done.returncode == 1
    assert "in 2 stretches" in done.stdout
    engine.start()
    is_lost(engine, ids, {list(ids)[1], list(ids)[11]})
    copies = sorted((engine.data_dir / "quarantine").glob("*.damaged"))
    assert len(copies) == 2
    assert b"mall-0-1" in copies[0].read_bytes() and b"arge-2" in copies[1].read_bytes()
    assert len(lines(engine, "are damaged.*set aside")) == 2
    # Delivered, they are put away in their turn; until then verify finds the damage in them.
    engine.wait_until(lambda: not any(path.exists() for path in damaged), 30, "the segments to go")
    engine.stop()
    done = engine.command("verify")
    assert re.search(r"damaged ever: \d+ bytes in 2 stretches, 2 transactions", done.stdout)


def test_damage_over_the_bound_is_counted_alone(full):
    engine, ids = full
    engine.options["QUARANTINE_MAX_BYTES"] = "0"
    flip(segments(engine)[0], b"small-0-1")
    engine.start()
    is_lost(engine, ids, {list(ids)[1]})
    assert not list((engine.data_dir / "quarantine").glob("*.damaged"))
    assert len(lines(engine, "are damaged.*only counted")) == 1


def test_a_missing_segment_in_the_middle(full):
    engine, ids = full
    gone = segments(engine)[1]
    content = gone.read_bytes()
    lost = {list(ids)[at] for at in range(COUNT) if mark(at) in content}
    assert len(lost) > 2
    gone.unlink()
    engine.start()
    is_lost(engine, ids, lost)


def mark(at):
    turn, n = divmod(at, 4)
    return f"small-{turn}-{n}".encode() if n < 3 else f"large-{turn}".encode()


def test_a_missing_first_segment_waits_for_a_person(full):
    """Was it delivered? The log cannot know. The engine takes transactions and says why none is
    forwarded."""
    engine, ids = full
    first = segments(engine)[0]
    engine.start()
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up", 30, "the store")
    engine.wait_until_stored()
    engine.wait_until(lambda: not first.exists(), 30, "the first segment to go")
    engine.kill9()
    assert engine.query("UPDATE forward_cursor SET position = 1 RETURNING position")
    (engine.data_dir / "ledger.db").unlink()
    engine.start()
    engine.wait_for_log("the store is down: .* the log's first file missing")
    engine.accept()
    assert engine.counts()["uncompleted"] > 0


def test_a_truncated_segment_loses_its_end(full):
    engine, ids = full
    path = segments(engine)[1]
    content = path.read_bytes()
    kept = content.index(b"large-2")
    held = [at for at in range(COUNT) if mark(at) in content]
    lost = {list(ids)[at] for at in held if content.index(mark(at)) >= kept}
    with path.open("r+b") as file:
        file.truncate(kept)
    engine.start()
    is_lost(engine, ids, lost)


def test_a_segment_of_another_salt_is_damaged_as_a_whole(full):
    engine, ids = full
    path = segments(engine)[1]
    content = path.read_bytes()
    lost = {list(ids)[at] for at in range(COUNT) if mark(at) in content}
    seal(path, content[:56] + bytes([content[56] ^ 1]) + content[57:HEADER])
    engine.start()
    is_lost(engine, ids, lost)


def test_a_segment_of_another_node_stops_the_start(full):
    engine, ids = full
    path = segments(engine)[1]
    header = path.read_bytes()[:HEADER]
    seal(path, header[:48] + b"0000zzzz" + header[56:])
    does_not_start(engine, path.name, "belongs to node 0000zzzz")
    seal(path, header)
    engine.start()
    is_lost(engine, ids, set())


@pytest.mark.parametrize("content", [b"", b"not a segment", bytes(200), b"LABSWAL\n" + bytes(100)])
def test_a_file_that_is_no_segment_stops_the_start(full, content):
    engine, ids = full
    path = segments(engine)[1]
    aside = path.with_suffix(".aside")
    path.rename(aside)
    path.write_bytes(content)
    does_not_start(engine, path.name)
    aside.rename(path)
    engine.start()
    is_lost(engine, ids, set())


def test_a_segment_of_a_newer_version_stops_the_start(full):
    engine, _ = full
    path = segments(engine)[1]
    change(path, 8, struct.pack("<I", 2))
    before = {file: file.stat().st_size for file in segments(engine)}
    does_not_start(engine, path.name, "newer")
    assert {file: file.stat().st_size for file in segments(engine)} == before


def test_a_ledger_of_a_newer_version_stops_the_start(full):
    engine, _ = full
    with sqlite3.connect(engine.data_dir / "ledger.db") as ledger:
        ledger.execute("PRAGMA user_version = 99")
    ledger.close()
    does_not_start(engine, "ledger.db", "newer")


def test_a_file_of_ids_of_a_newer_version_stops_the_start(full):
    engine, _ = full
    folder = engine.data_dir / "ids"
    (folder / f"{1:020}.ids").write_bytes(b"LABSIDS\n" + struct.pack("<I", 3) + bytes(84))
    does_not_start(engine, "ids", "newer")


def test_damaged_files_of_ids_do_not_stop_the_start(full):
    engine, ids = full
    engine.start()
    engine.wait_until_stored()
    files = engine.data_dir / "ids"
    engine.wait_until(lambda: list(files.glob("*.ids")), 30, "a file of ids")
    engine.stop()
    for path in files.glob("*.ids"):
        change(path, 20, b"damage")
    assert engine.command("verify", check=False).returncode == 1
    engine.start()
    assert len(lines(engine, "client ids are lost")) >= 1
    assert engine.wait_until_stored()["successful"] == len(ids)
    engine.accept(id="new")


def test_a_read_only_disk(disk, engines):
    small = disk("tmpfs", 80)
    engine = engines(DATA_DIR=small.folder / "data", **QUICK)
    engine.accept()
    engine.wait_until_stored()
    engine.stop()
    small.set_writable(False)
    engine.launch()
    assert engine.wait_for_exit() == 1
    assert len(engine.log.splitlines()) == 1
    assert "Read-only file system" in engine.log
    small.set_writable(True)
    engine.start()
    engine.accept()
    assert engine.wait_until_stored()["successful"] == 2


def test_a_folder_that_may_not_be_written(engines, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    if not set_immutable(folder, True):
        pytest.skip("folders cannot be made immutable here")
    try:
        for data_dir in (folder, folder / "below"):
            engine = engines(start=False, DATA_DIR=data_dir)
            engine.own_key = True
            engine.launch()
            assert engine.wait_for_exit() == 1
            assert len(engine.log.splitlines()) == 1
            assert str(data_dir) in engine.log
    finally:
        set_immutable(folder, False)


@pytest.mark.parametrize("ledger", ["kept", "gone"])
def test_a_log_that_is_gone_gives_no_id_twice(full, ledger):
    engine, ids = full
    engine.start()
    engine.wait_until_stored()
    engine.stop()
    shutil.rmtree(engine.data_dir / "queue")
    if ledger == "gone":
        (engine.data_dir / "ledger.db").unlink()
    engine.start()
    own = engine.accept(id="after")
    assert own not in ids
    engine.wait_until_stored()
    assert set(engine.stored_ids()) == set(ids) | {own}


def copy_of_a_moment(engine, to):
    """The data directory of an engine that runs, copied while all of it stands still."""
    tasks = Path(f"/proc/{engine.process.pid}/task")

    def all_stand():
        stats = [task.joinpath("stat").read_text() for task in tasks.iterdir()]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    engine.process.send_signal(signal.SIGSTOP)
    try:
        engine.wait_until(all_stand, 30, "the engine to stand still")
        shutil.copytree(engine.data_dir, to)
    finally:
        engine.process.send_signal(signal.SIGCONT)


def test_a_disk_that_lost_what_it_called_durable(engines, postgres, proxy):
    """What is accepted before the store can be asked is not taken for what the store has."""
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), **QUICK)
    ids = [engine.accept()]
    engine.wait_until_stored()
    copy = engine.folder / "copy"
    copy_of_a_moment(engine, copy)
    ids += [engine.accept() for _ in range(10)]
    engine.wait_until_stored()
    engine.kill9()
    proxy.down()
    shutil.rmtree(engine.data_dir)
    copy.rename(engine.data_dir)
    engine.start()
    ids += [engine.accept() for _ in range(5)]
    assert engine.counts()["uncompleted"] == 5
    proxy.up()
    engine.wait_until_stored()
    assert len(lines(engine, "warning queue: the log has lost its end, which the store has")) == 1
    stored = postgres.ask("SELECT DISTINCT transaction_id FROM event")
    assert sorted(row["transaction_id"] for row in stored) == sorted(ids)
    assert len(set(ids)) == 16
    engine.stop()
    assert engine.command("verify").returncode == 0
    engine.start()
    ids.append(engine.accept())
    assert engine.wait_until_stored()["accepted"] == 7  # of which this directory knows
    rows = postgres.ask("SELECT count(DISTINCT transaction_id) AS n FROM event")
    assert rows[0]["n"] == 17
    assert engine.status()["queue"]["pending_bytes"] == 0


def test_an_old_copy_loses_nothing_that_it_takes(engines, postgres, proxy):
    """Older than restarts, and started again before the store could be asked."""
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), **QUICK)
    ids = [engine.accept()]
    engine.wait_until_stored()
    engine.stop()
    copy = engine.folder / "copy"
    shutil.copytree(engine.data_dir, copy)
    for _ in range(2):
        engine.start()
        ids += [engine.accept(data=LARGE) for _ in range(3)]
        engine.wait_until_stored()
        engine.stop()
    proxy.down()
    shutil.rmtree(engine.data_dir)
    copy.rename(engine.data_dir)
    for _ in range(2):
        engine.start()
        ids.append(engine.accept())
        engine.kill9()
    engine.start()
    proxy.up()
    engine.wait_until_stored()
    stored = postgres.ask("SELECT DISTINCT transaction_id FROM event")
    assert sorted(row["transaction_id"] for row in stored) == sorted(ids)
    assert len(set(ids)) == 9


def twin_of(engine, engines, postgres):
    """Another engine with a copy of the data directory of this one, which is stopped."""
    twin = engines(start=False, DATABASE_URL=postgres.url(), **QUICK)
    shutil.copytree(engine.data_dir, twin.data_dir)
    return twin


def test_two_engines_of_one_name(engines, postgres):
    """The first is held up for good once the second has moved the cursor, and loses nothing."""
    first = engines(DATABASE_URL=postgres.url(), **QUICK)
    ids = [first.accept()]
    first.wait_until_stored()
    first.stop()
    second = twin_of(first, engines, postgres)
    first.start()
    ids.append(first.accept())
    first.wait_until_stored()
    second.start()
    ids.append(second.accept())
    second.wait_until_stored()
    ids.append(first.accept())
    message = "this engine delivered up to ([0-9]+): does another one run"
    first.wait_for_log("error   queue: .*" + message)
    first.kill9()
    first.start()
    first.wait_for_log("the store is down: .*" + message)
    ids.append(first.accept())
    assert first.counts()["uncompleted"] == 2
    second.stop()
    position = re.search(message, first.log)[1]
    assert postgres.ask(f"UPDATE forward_cursor SET position = {position} RETURNING node")
    first.wait_until_stored()
    first.wait_for_log("info    queue: the store's position is this engine's again")
    stored = postgres.ask("SELECT DISTINCT transaction_id FROM event")
    assert sorted(row["transaction_id"] for row in stored) == sorted(ids)
    assert len(set(ids)) == 5


def test_an_engine_whose_name_another_one_used_while_it_could_not_ask(engines, postgres, proxy):
    """It had no answer of the store since, and is started anew before it gets one."""
    first = engines(DATABASE_URL=postgres.url(port=proxy.port), **QUICK)
    ids = [first.accept()]
    first.wait_until_stored()
    first.stop()
    second = twin_of(first, engines, postgres)
    proxy.down()
    first.start()
    ids += [first.accept(), first.accept()]
    second.start()
    ids.append(second.accept())
    second.wait_until_stored()
    second.stop()
    first.kill9()
    first.start()
    proxy.up()
    message = "this engine delivered up to ([0-9]+): does another one run"
    first.wait_for_log("error   queue: .*" + message)
    ids.append(first.accept())
    assert first.counts()["uncompleted"] == 3
    position = re.search(message, first.log)[1]
    assert postgres.ask(f"UPDATE forward_cursor SET position = {position} RETURNING node")
    first.wait_until_stored()
    stored = postgres.ask("SELECT DISTINCT transaction_id FROM event")
    assert sorted(row["transaction_id"] for row in stored) == sorted(ids)
    assert len(set(ids)) == 5


def change_store(engine, statement):
    url = engine.options["DATABASE_URL"]
    if url.startswith("sqlite:"):
        database = sqlite3.connect(url.removeprefix("sqlite:"), timeout=30)
    else:
        database = psycopg.connect(url)
    with closing(database), database:
        database.execute(statement)


def refuse_bad_values(engine):
    if engine.options["DATABASE_URL"].startswith("sqlite:"):
        change_store(
            engine,
            "CREATE TRIGGER no_bad BEFORE INSERT ON event WHEN NEW.value LIKE 'bad%'"
            " BEGIN SELECT RAISE(ABORT, 'no bad ones'); END",
        )
    else:
        change_store(engine, "ALTER TABLE event ADD CHECK (value NOT LIKE 'bad%')")


def make_last_record_newer(engine):
    """Of a kind that only a later version could read."""
    path = segments(engine)[-1]
    content = path.read_bytes()
    (base,), salt = struct.unpack_from("<Q", content, 24), content[56:60]
    at, last = HEADER, None
    while struct.unpack_from("<Q", content, at + 8)[0] == base + at - HEADER:
        last = at
        at += 16 + (struct.unpack_from("<I", content, at + 4)[0] & 0x7FFFFFFF)
    record = content[last + 4 : last + 16] + b"\x63" + content[last + 17 : at]
    change(path, last, struct.pack("<I", crc32c(record, *struct.unpack("<I", salt))) + record)


FATES = {"stored": True, "failed": True, "discarded": True, "erased": True, "newer": True}
FATES |= {"absent": False, "another": False}


@pytest.mark.parametrize("fate", FATES)
def test_what_a_cursor_that_is_ahead_has_passed(engines, store_url, fate):
    """A last transaction that this engine does not know to be delivered is looked for."""
    engine = engines(DATABASE_URL=store_url, **QUICK)
    ids = [engine.accept()]
    engine.wait_until_stored()
    cursor = "SELECT position FROM forward_cursor"
    [row] = engine.query(cursor)
    refuse_bad_values(engine)
    value = "bad" if fate in ("failed", "discarded") else "good"
    last = engine.accept(pennkey="asmith", data=[{"key": "k", "value": value}])
    engine.wait_until_stored()
    if fate == "discarded":
        engine.command("transactions", "discard", last)
    elif fate == "erased":
        body = json.dumps({"pennkey": "asmith", "delete": True})
        assert engine.post(body, "/v1/users/forget").status_code == 200
        engine.wait_until(lambda: last not in engine.stored_ids(), 30, "the rows to go")
    elif fate != "failed":
        ids.append(last)
    engine.stop()
    if fate == "absent":
        change_store(engine, f"DELETE FROM event WHERE transaction_id = '{last}'")
    elif fate == "newer":
        make_last_record_newer(engine)
    elif fate == "another":
        change_store(engine, "UPDATE event SET received_at = timestamp WHERE datapoint = 'k'")
    change_store(engine, "UPDATE forward_cursor SET position = position + 1000")
    with closing(sqlite3.connect(engine.data_dir / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE meta SET value = ? WHERE name = 'cursor'", (row["position"],))
    engine.start()
    if FATES[fate]:
        engine.wait_for_log("warning queue: the log has lost its end, which the store has")
        ids.append(engine.accept())
    else:
        engine.wait_for_log(f"error   queue: .* delivered up to {row['position']}: does another")
        assert engine.counts()["uncompleted"] == 1
    if fate == "absent":
        change_store(engine, f"UPDATE forward_cursor SET position = {row['position']}")
    if fate != "another":
        engine.wait_until_stored()
        assert engine.counts()["failed"] == (fate == "failed")
    assert sorted(engine.stored_ids()) == sorted(ids)
