"""Failed transactions as lines of JSON: out of one engine, by HTTP and by the command, and in."""

import json
import sqlite3
import subprocess

import pytest
from support.engine import a_transaction
from support.paths import BINARY
from support.refusing import TABOO, Refusing

MEMBERS = "id product pennkey timestamp data transaction_id received_at error attempts failed_at"
HASTE = {"FORWARD_RETRY_MAX": "100ms", "FORWARD_RETRY_MIN": "10ms"}


def refusing(engines, store_url, **options):
    engine = engines(DATABASE_URL=store_url, **HASTE, **options)
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    Refusing(store_url).refuse()
    return engine


def fail(engine, transactions):
    """Has all of these refused; gives their ids."""
    body = [one | {"data": [*one["data"], {"key": TABOO, "value": 5}]} for one in transactions]
    results = engine.post(body, "/v1/transactions").json()["results"]
    failed = 0
    while failed < len(results):  # each is a write to a disk that others use too
        failed = engine.wait_until(lambda before=failed: more_failed(engine, before))
    assert failed == len(results)
    return [one["id"] for one in results]


def more_failed(engine, before):
    failed = engine.counts()["failed"]
    return failed if failed > before else None


def page(engine, **parameters):
    answer = engine.get(
        "/v1/transactions", params={"status": "failed", "format": "ndjson"} | parameters
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def contents(engine):
    """{(product, pennkey, instant): [(datapoint, value)]} of the store."""
    found = {}
    for row in engine.events():
        key = (row["product"], row["pennkey"], row["timestamp"])
        found.setdefault(key, []).append((row["datapoint"], row["value"]))
    return found


def test_a_line_is_what_may_be_posted(engines, store_url):
    engine = refusing(engines, store_url)
    sent = a_transaction(product="OHQ", pennkey="a'\"🎉", timestamp=1790000000.25)
    (identity,) = fail(engine, [sent])
    (line,) = page(engine)
    assert list(line) == MEMBERS.split()
    assert line["id"] == line["transaction_id"] == identity
    assert (line["product"], line["pennkey"]) == ("OHQ", "a'\"🎉")
    assert line["timestamp"] == "2026-09-21T14:13:20.250000Z"
    assert line["data"][-1] == {"key": TABOO, "value": "5"}
    assert "no_taboo" in line["error"] and line["attempts"] >= 1

    Refusing(store_url).allow()
    answers = [engine.post(line) for _ in range(2)]  # as it stands, twice
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1
    engine.wait_until_stored()
    assert len(engine.events()) == 3


def test_pages_follow_each_other_to_an_empty_one(engines, tmp_path):
    engine = refusing(engines, f"sqlite:{tmp_path}/events.db")
    ids = fail(engine, [a_transaction(pennkey=f"u{n}") for n in range(7)])
    found, after = [], {}
    while lines := page(engine, limit=3, **after):
        assert len(lines) <= 3
        found += lines
        after = {"after": lines[-1]["id"]}
    assert [line["id"] for line in found] == ids
    assert [line["pennkey"] for line in found] == [f"u{n}" for n in range(7)]


def test_large_ones_make_small_pages(engines, tmp_path):
    engine = refusing(engines, f"sqlite:{tmp_path}/events.db")
    large = a_transaction(data=[{"key": "k", "value": "x" * 8000}] * 400)
    ids = fail(engine, [large] * 4)
    answer = page(engine)
    assert len(answer) == 2  # 3.2 MB each, and a page ends behind 4 MiB
    told = engine.command("transactions", "export").stdout.splitlines()
    assert [json.loads(line)["id"] for line in told] == ids


@pytest.mark.parametrize("running", [True, False])
def test_from_one_engine_to_another(engines, tmp_path, running):
    first = refusing(engines, f"sqlite:{tmp_path}/events.db")
    sent = [a_transaction(pennkey=f"u{n}", timestamp=1790000000 + n) for n in range(1005)]
    ids = fail(first, sent)
    file = first.folder / "failed.ndjson"
    if not running:
        first.stop()
    told = first.command("transactions", "export")
    assert told.stderr == ""
    file.write_text(told.stdout)
    lines = told.stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    behind = first.command("transactions", "export", "--after", ids[999]).stdout.splitlines()
    assert behind == lines[1000:]

    second = engines()
    for _ in range(2):  # what was taken is not stored twice
        done = second.command("transactions", "import", file)
        assert (done.stdout, done.stderr) == ("1005 accepted, 0 rejected\n", "")
    assert second.wait_until_stored()["accepted"] == 1005
    found = contents(second)
    assert {pennkey for _, pennkey, _ in found} == {f"u{n}" for n in range(1005)}
    data = [("club.visit.0", "value 0"), ("club.visit.1", "value 1"), (TABOO, "5")]
    assert all(sorted(rows) == data for rows in found.values())


def test_lines_that_are_refused_are_told(engine):
    good = json.dumps(a_transaction(id="one"))
    lines = [good, "", "{", json.dumps(a_transaction(product="NOBODY")), "  ", good, "[]"]
    file = engine.folder / "lines"
    file.write_text("\n".join(lines))
    done = engine.command("transactions", "import", file, check=False)
    assert done.returncode == 1
    assert done.stdout == "2 accepted, 3 rejected\n"
    told = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in told] == ["line 3", "line 4", "line 7"]
    assert told[1].endswith(": line 4: product: is not in the product table")
    assert engine.wait_until_stored()["accepted"] == 1

    file.write_text(json.dumps(a_transaction(data=[{"key": "k", "value": 1}, {"value": 1}])))
    done = engine.command("transactions", "import", file, check=False)
    assert done.stderr == "labs-analytics: line 1: data[1].key: is missing\n"

    file.write_text("nothing\n" * 2500)
    done = engine.command("transactions", "import", file, check=False)
    assert (done.returncode, done.stdout) == (1, "0 accepted, 2500 rejected\n")
    assert len(done.stderr.splitlines()) == 10


@pytest.mark.parametrize("values", [20, 400])
def test_a_line_that_no_body_can_hold_is_rejected_and_the_rest_taken(engines, values):
    """What was posted as it just went through is larger as a line of an export."""
    engine = engines(MAX_BODY_BYTES="64KiB")
    large = a_transaction(data=[{"key": "k", "value": "x" * 8000}] * values)
    lines = [a_transaction(pennkey="first"), large, large, a_transaction(pennkey="last")]
    file = engine.folder / "lines"
    file.write_text("\n".join(map(json.dumps, lines)))
    done = engine.command("transactions", "import", file, check=False)
    assert (done.returncode, done.stdout) == (1, "2 accepted, 2 rejected\n")
    told = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in told] == ["line 2", "line 3"]
    assert all("too large" in line for line in told)
    engine.wait_until_stored()
    assert {row["pennkey"] for row in engine.events()} == {"first", "last"}


def test_an_import_takes_an_engine_and_a_file(engines):
    idle = engines(start=False)
    engine = engines()
    engine.stop()
    for one, words in ((idle, "no data directory"), (engine, "no engine runs")):
        one.folder.joinpath("lines").write_text(json.dumps(a_transaction()))
        done = one.command("transactions", "import", "lines", check=False)
        assert done.returncode == 1 and words in done.stderr
    engine.start()
    done = engine.command("transactions", "import", "nowhere", check=False)
    assert done.returncode == 1 and "nowhere" in done.stderr
    done = engine.command("transactions", "import", "/dev/null")
    assert done.stdout == "0 accepted, 0 rejected\n"
    done = engine.command("transactions", "import", "/", check=False)
    assert done.returncode == 1 and "read" in done.stderr


def spoil_the_first(engine, record):
    """Has the ledger hold bytes that are no transaction, as a disk may, with the engine stopped."""
    engine.stop()
    ledger = sqlite3.connect(engine.data_dir / "ledger.db")
    ledger.execute(
        "UPDATE failed SET record = ? WHERE position = (SELECT min(position) FROM failed)",
        (record,),
    )
    ledger.commit()
    ledger.close()


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("record", [b"\x01\x01\xff\xff", b"\x7f", b""])
def test_one_that_cannot_be_read_keeps_no_others_back(engines, tmp_path, running, record):
    store_url = f"sqlite:{tmp_path}/events.db"
    engine = refusing(engines, store_url)
    spoilt, *good = fail(engine, [a_transaction(pennkey=f"u{n}") for n in range(3)])
    spoil_the_first(engine, record)
    if running:
        engine.start()

    rows = json.loads(engine.command("transactions", "list", "--json").stdout)["transactions"]
    assert [row["id"] for row in rows] == [spoilt, *good]
    assert {row["status"] for row in rows} == {"failed"}
    assert {name for name, value in rows[0].items() if value is None} == {
        "product",
        "pennkey",
        "timestamp",
        "received_at",
    }
    assert rows[0].keys() == rows[1].keys() and rows[0]["datapoints"] == 0
    assert "no_taboo" not in rows[0]["error"] and "no_taboo" in rows[1]["error"]
    shown = json.loads(engine.command("transactions", "show", spoilt, "--json").stdout)
    assert shown == rows[0]

    done = engine.command("transactions", "export", check=False)
    assert done.returncode == 1
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == good
    assert done.stderr.splitlines() == [
        f"labs-analytics: {spoilt}: {rows[0]['error']}",
        "labs-analytics: failed transactions that cannot be read and were left out: 1",
    ]
    done = engine.command("transactions", "export", "--after", spoilt)
    assert (len(done.stdout.splitlines()), done.stderr) == (2, "")

    Refusing(store_url).allow()
    assert engine.command("transactions", "retry", "--all").stdout.startswith("3 ")
    if not running:
        engine.start()
    counts = engine.wait_until_stored()
    assert (counts["successful"], counts["failed"]) == (2, 1)  # what is damaged stays where it is
    assert set(engine.stored_ids()) == set(good)
    engine.command("transactions", "discard", spoilt)
    assert engine.counts()["failed"] == 0


def test_a_page_of_what_cannot_be_read_is_not_the_end(engines, tmp_path):
    engine = refusing(engines, f"sqlite:{tmp_path}/events.db")
    ids = fail(engine, [a_transaction(pennkey=f"u{n}") for n in range(2)])
    spoil_the_first(engine, b"\x7f")
    engine.start()
    assert [line["id"] for line in page(engine, limit=1)] == ids[1:]


def test_an_export_that_cannot_be_written_fails(engines, tmp_path):
    engine = refusing(engines, f"sqlite:{tmp_path}/events.db")
    fail(engine, [a_transaction()])
    with open("/dev/full", "w") as full:
        done = engine.command("transactions", "export", check=False, stdout=full)
    assert done.returncode == 1 and "No space left" in done.stderr


def test_an_export_to_a_closed_stream_fails_and_goes_into_no_file(engines, tmp_path):
    engine = refusing(engines, f"sqlite:{tmp_path}/events.db")
    fail(engine, [a_transaction()])
    engine.stop()
    lock = (engine.data_dir / "lock").read_text()
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" transactions export >&-', BINARY],
        cwd=engine.folder,
        env=engine.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "write to stdout: Bad file descriptor" in done.stderr
    assert (engine.data_dir / "lock").read_text() == lock


@pytest.mark.parametrize(
    "query", ["format=xml", "format=", "format=ndjson&status=successful", "format=%zz"]
)
def test_a_format_that_is_none_is_400(shared, query):
    answer = shared.get(f"/v1/transactions?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("format: ")


def test_users_go_out_under_their_pseudonyms_and_come_in_for_the_same(engines, tmp_path):
    store_url = f"sqlite:{tmp_path}/events.db"
    engine = refusing(engines, store_url, PSEUDONYMIZE="on")
    fail(engine, [a_transaction(pennkey="bfranklin")])
    told = engine.command("transactions", "export").stdout
    assert "bfranklin" not in told
    offered = json.loads(told)
    assert offered["pennkey"].startswith("p_")
    Refusing(store_url).allow()
    file = engine.folder / "failed.ndjson"
    file.write_text(told)
    engine.command("transactions", "import", file)
    engine.accept(pennkey="bfranklin")
    engine.wait_until_stored()
    assert {row["pennkey"] for row in engine.events()} == {offered["pennkey"]}


def test_users_who_are_to_be_forgotten_do_not_go_out(engines, tmp_path):
    """The order is recorded, and nothing has been cleaned yet."""
    engine = refusing(engines, f"sqlite:{tmp_path}/events.db")
    users = ["erased", "unnamed", "kept", "erased"]
    ids = fail(engine, [a_transaction(pennkey=user) for user in users])
    engine.stop()
    ledger = sqlite3.connect(engine.data_dir / "ledger.db")
    for user, erase in (("erased", 1), ("unnamed", 0)):
        ledger.execute("INSERT INTO forgotten VALUES (?, ?, 1 << 40, 0, 0)", (user, erase))
    ledger.commit()
    ledger.close()
    told = engine.command("transactions", "export").stdout
    lines = [json.loads(line) for line in told.splitlines()]
    assert [(line["id"], line["pennkey"]) for line in lines] == [(ids[1], None), (ids[2], "kept")]
